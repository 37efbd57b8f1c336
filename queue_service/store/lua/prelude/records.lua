-- prelude/records: writes that are put off, and the records of deliveries.

-- Writes that wait for the end of the call, so that many entries cost one command: by key and
-- command its arguments.  Nothing that is read later in the same call is put off, but for
-- delivery records, which `records` remembers.
local put_off = {}

local function later(command, key, ...)
    local name = command .. key
    local write = put_off[name]
    if not write then
        write = { command, key }
        put_off[name] = write
    end
    for _, argument in ipairs({ ... }) do
        write[#write + 1] = argument
    end
end

local function write_all()
    local MOST = 4000 -- arguments of one command, of which Lua's stack takes 8000
    for _, write in pairs(put_off) do
        for first = 3, #write, MOST do
            redis.call(write[1], write[2],
                unpack(write, first, math.min(first + MOST - 1, #write)))
        end
    end
    put_off = {}
end

-- A delivery record: attempt, lane, state, request id, user, the entry's tags.
-- States: h held; r released; j rejected by the user; o released but reserved for the user.
local records, changed = {}, {}

local function known_record(q, gid, index)
    local field = gid .. SEP .. index
    local text = records[q.deliveries .. field]
    if text == nil then
        text = redis.call('HGET', q.deliveries, field)
        records[q.deliveries .. field] = text
    end
    return text
end

-- Read the records of many entries at once.
local function read_records(q, gid, indexes)
    local fields = {}
    for position, index in ipairs(indexes) do
        fields[position] = gid .. SEP .. index
    end
    for first = 1, #fields, 1000 do
        local last = math.min(first + 999, #fields)
        local texts = redis.call('HMGET', q.deliveries, unpack(fields, first, last))
        for position, text in ipairs(texts) do
            records[q.deliveries .. fields[first + position - 1]] = text
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
    records[q.deliveries .. field] = record.attempt .. ':' .. record.lane
        .. ':' .. record.state .. ':' .. record.request_id .. SEP .. record.uid .. SEP .. record.tags
    changed[q.deliveries .. field] = { q.deliveries, field }
end

local function erase_record(q, gid, index)
    local field = gid .. SEP .. index
    records[q.deliveries .. field] = false
    changed[q.deliveries .. field] = { q.deliveries, field }
end

local function write_records()
    for name, place in pairs(changed) do
        if records[name] then
            later('HSET', place[1], place[2], records[name])
        else
            later('HDEL', place[1], place[2])
        end
    end
    changed = {}
end
