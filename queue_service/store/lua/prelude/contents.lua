-- prelude/contents: what an entry takes beside its place in a stream.
-- uses: rules
--
-- Places: an entry whose data has more than `place_bytes` takes several places of the capacity, so a queue
-- is full by its entries or by their bytes.  Its tag `_places_` says how many.
--
-- Files: contents outside Redis belong to the entry or dead letter that names them in its tag `_files_`, a
-- JSON text of objects with an `id`; the one with `payload` is the data.  Others belong to a job
-- (artifacts.lua).  `file_holders` counts by how many each is named.  One that none names any more goes to `unneeded`, whose score is the time, and the
-- queue service removes it (see service/payload_files.py).  A move from one entry to another, in one call,
-- changes no count.
--
-- No client can set these tags, so entries without them cost nothing.
local FILES_FORMAT = 4 -- the first format with files
local FILES, PLACES = '"_files_":', '"_places_":'

-- By how much the holders of each file change in this call, what has other places now, and by how much
-- the bytes of files change that the entries of each queue name.
local changes, is_changed, file_bytes = {}, {}, {}

local function has(tags, mark)
    return tags and tags ~= '{}' and string.find(tags, mark, 1, true)
end

local function place_bytes(q)
    return q == sink and Rules.sink_place_bytes or Rules.place_bytes
end

-- How many places an entry with this much data takes.
local function places_for(q, size)
    local bytes = place_bytes(q)
    return bytes > 0 and size > bytes and math.ceil(size / bytes) or 1
end

-- How many places an entry with these tags takes.
local function places_of(tags)
    return has(tags, PLACES) and tonumber(cjson.decode(tags)._places_) or 1
end

-- Whether one more entry with this much data is too much beside what is stored.  One alone never is.
local function is_full(q, stored, size, capacity)
    return stored > 0 and stored + places_for(q, size) > capacity
end

-- The places of the sink that results of held entries will take.
local function reserved()
    return tonumber(redis.call('HGET', input.meta, 'held') or 0) * Rules.result_places
end

-- The free places of the sink.
local function sink_room()
    return Rules.sink_capacity - length(sink) - more_places[sink] - reserved()
end

-- This many more, or fewer, name each of these files.  q: the queue of the entry that does, else nil.
local function count(files, by, q)
    for _, file in ipairs(files) do
        changes[file.id] = (changes[file.id] or 0) + by
        if q then
            file_bytes[q] = (file_bytes[q] or 0) + by * (file.bytes or 0)
        end
    end
end

-- q: nil for a dead letter.
local function count_files(tags, by, q)
    if has(tags, FILES) then
        count(cjson.decode(cjson.decode(tags)._files_), by, q)
    end
end

local function count_places(q, by)
    more_places[q], is_changed[q] = math.max(0, more_places[q] + by), true
end

-- A dead letter names its files, or does so no longer.
local function hold(tags)
    count_files(tags, 1)
end

local function let_go(tags)
    count_files(tags, -1)
end

-- Whether these tags say something about contents.
local function is_marked(tags)
    return has(tags, FILES) or has(tags, PLACES)
end

-- How many bytes the files have that these tags name.
local function size_of_files(tags)
    local size = 0
    for _, file in ipairs(has(tags, FILES) and cjson.decode(cjson.decode(tags)._files_) or {}) do
        size = size + (file.bytes or 0)
    end
    return size
end

-- Take it out of a table of tags.
local function without_marks(tags)
    tags._files_, tags._places_ = nil, nil
    return tags
end

-- Put another payload among the files of a table of tags, "" for none.
local function change_payload(tags, new)
    tags._places_ = nil
    local kept = { new ~= '' and cjson.decode(new) or nil }
    for _, file in ipairs(tags._files_ and cjson.decode(tags._files_) or {}) do
        if not file.payload then
            kept[#kept + 1] = file
        end
    end
    tags._files_ = kept[1] and cjson.encode(kept) or nil
end

-- An entry comes in; this may change its tags, so call it before you store the fields.
local function enter(q, fields)
    local places = places_for(q, #fields[DATA])
    if places > 1 or has(fields[TAGS], PLACES) then
        local tags = cjson.decode(fields[TAGS])
        tags._places_ = places > 1 and string.format('%.0f', places) or nil
        fields[TAGS] = cjson.encode(tags)
        if places > 1 then
            count_places(q, places - 1)
        end
    end
    count_files(fields[TAGS], 1, q)
end

-- An entry goes.
local function leave(q, tags)
    if has(tags, PLACES) then
        count_places(q, 1 - places_of(tags))
    end
    count_files(tags, -1, q)
end

-- Older versions remove entries without counting what they take: an empty queue starts again.
local function is_empty(q)
    return length(q) == 0 and (q == sink or redis.call('XLEN', delayed) == 0)
end

local function flush()
    for q in pairs(is_changed) do
        if is_empty(q) then
            more_places[q] = 0
        end
        redis.call('HSET', q.meta, 'places', string.format('%.0f', more_places[q]))
    end
    is_changed = {}
    for q, by in pairs(file_bytes) do
        if is_empty(q) then
            redis.call('HDEL', q.meta, 'file_bytes')
        elseif by ~= 0 then
            redis.call('HINCRBY', q.meta, 'file_bytes', string.format('%.0f', by))
        end
    end
    file_bytes = {}
    if not next(changes) then
        return
    end
    local gone = false
    for id, by in pairs(changes) do
        if by ~= 0 and tonumber(redis.call('HINCRBY', file_holders, id, by)) <= 0 then
            redis.call('HDEL', file_holders, id)
            redis.call('ZADD', unneeded, now_ms(), id)
            gone = true
        end
    end
    changes = {}
    if format_of[input] < FILES_FORMAT then
        format_of[input] = FILES_FORMAT
        redis.call('HSET', input.meta, 'format', FILES_FORMAT)
    end
    if gone then
        ring('files')
    end
end

return {
    places_for = places_for, places_of = places_of, is_full = is_full, reserved = reserved, sink_room = sink_room, count = count,
    hold = hold, let_go = let_go, is_marked = is_marked, size_of_files = size_of_files,
    without_marks = without_marks, change_payload = change_payload,
    enter = enter, leave = leave, flush = flush,
}
