-- prelude/records: the records of deliveries.
-- uses: writes

-- A delivery record: attempt, lane, state, request id, user, the entry's tags.
-- States: h held; r released; j rejected by the user; o released but reserved for the user;
-- a rejected by the user, which is to run it once more with nothing beside it.
-- `records` remembers, by the key of the hash, what was read or is to be written.
local records = { [own.deliveries] = {}, [peer.deliveries] = {} }
local changed = { [own.deliveries] = {}, [peer.deliveries] = {} }

local function known_record(q, gid, index)
    local known, field = records[q.deliveries], gid .. SEP .. index
    local text = known[field]
    if text == nil then
        text = redis.call('HGET', q.deliveries, field)
        known[field] = text
    end
    return text
end

-- What usage.lua notes about a delivery to a worker, beside its record, until the delivery ends.
local function run_field(gid, index)
    return gid .. SEP .. index .. SEP .. 'run'
end

-- Read the records of many entries at once, with their runs.
local function read_records(q, gid, indexes)
    local known, fields = records[q.deliveries], {}
    for _, index in ipairs(indexes) do
        fields[#fields + 1] = gid .. SEP .. index
        if q == input then
            fields[#fields + 1] = run_field(gid, index)
        end
    end
    for first = 1, #fields, 1000 do
        local last = math.min(first + 999, #fields)
        local texts = redis.call('HMGET', q.deliveries, unpack(fields, first, last))
        for position, text in ipairs(texts) do
            known[fields[first + position - 1]] = text
        end
    end
end

local function record_of(q, gid, index)
    local text = known_record(q, gid, index)
    if not text then
        return nil
    end
    local attempt, lane, state, request_id, uid, tags =
        string.match(text, '^(%d+):(%d):(%a):([^\31]*)\31([^\31]*)\31(.*)$')
    return {
        attempt = tonumber(attempt), lane = tonumber(lane), state = state,
        request_id = request_id, uid = uid, tags = tags,
    }
end

local function write_record(q, gid, index, record)
    local field = gid .. SEP .. index
    records[q.deliveries][field] = record.attempt .. ':' .. record.lane
        .. ':' .. record.state .. ':' .. record.request_id .. SEP .. record.uid .. SEP .. record.tags
    changed[q.deliveries][field] = true
end

local function note_run(q, gid, index, text)
    local field = run_field(gid, index)
    records[q.deliveries][field], changed[q.deliveries][field] = text, true
end

-- Returns the run of a delivery that has ended, and forgets it; nil if there is none, as of a delivery by an
-- older version.
local function take_run(q, gid, index)
    local field, known = run_field(gid, index), records[q.deliveries]
    local text = known[field]
    if text == nil then
        text = redis.call('HGET', q.deliveries, field)
    end
    known[field] = false
    if text then
        changed[q.deliveries][field] = true
    end
    return text
end

-- Few entries have these, so they are fields beside the record: the users whose engines died while they
-- ran the entry, one name for each death, and how its last delivery failed.
local function deaths_field(gid, index)
    return gid .. SEP .. index .. SEP .. 'deaths'
end

local function error_field(gid, index)
    return gid .. SEP .. index .. SEP .. 'error'
end

-- Of which entries such a field was written in this call.
local noted = {}

-- Returns {uids = the different users, most = deaths of the user with most}.
local function deaths_of(q, gid, index)
    local text = redis.call('HGET', q.deliveries, deaths_field(gid, index)) or ''
    local deaths, count = { uids = {}, most = 0 }, {}
    for uid in string.gmatch(text, '[^\31]+') do
        if not count[uid] then
            count[uid] = 0
            deaths.uids[#deaths.uids + 1] = uid
        end
        count[uid] = count[uid] + 1
        deaths.most = math.max(deaths.most, count[uid])
    end
    return deaths, text
end

local function note_death(q, gid, index, uid)
    local _, text = deaths_of(q, gid, index)
    noted[gid .. SEP .. index] = true
    redis.call('HSET', q.deliveries, deaths_field(gid, index), text .. uid .. SEP)
end

-- kind: the type of the failure, where it is known (see client_sdk/wire/failures.py).
local function note_error(q, gid, index, code, sentence, uid, kind)
    noted[gid .. SEP .. index] = true
    redis.call('HSET', q.deliveries, error_field(gid, index),
        cmsgpack.pack({ code = code, sentence = sentence, uid = uid, type = kind }))
end

local function error_of(q, gid, index)
    local text = redis.call('HGET', q.deliveries, error_field(gid, index))
    return text and cmsgpack.unpack(text)
end

local function erase_record(q, gid, index, record)
    local field = gid .. SEP .. index
    if record.attempt > 1 or record.state ~= 'h' or noted[field] or lines_from then
        -- A first delivery has no such fields, unless there are several owners: then an engine may have
        -- died on the entry in a delivery that was not counted (see reject.lua).
        Writes.later('HDEL', q.deliveries, deaths_field(gid, index), error_field(gid, index))
    end
    records[q.deliveries][field] = false
    changed[q.deliveries][field] = true
end

local function flush()
    for key, fields in pairs(changed) do
        for field in pairs(fields) do
            local text = records[key][field]
            if text then
                Writes.later('HSET', key, field, text)
            else
                Writes.later('HDEL', key, field)
            end
        end
        changed[key] = {}
    end
end

return {
    read_records = read_records, record_of = record_of, write_record = write_record,
    deaths_field = deaths_field, deaths_of = deaths_of, note_death = note_death,
    note_error = note_error, error_of = error_of, erase_record = erase_record,
    note_run = note_run, take_run = take_run, flush = flush,
}
