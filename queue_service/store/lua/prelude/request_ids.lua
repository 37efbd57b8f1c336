-- prelude/request_ids: from a request id to its entries.
-- uses: writes

-- Where the entries of a request id are: the first in a hash, further ones, which only a sink
-- has, in a lexicographic set.  `ids` remembers the hash for this call.
local ids = { [own.request_ids] = {}, [peer.request_ids] = {} }
local changed_ids = { [own.request_ids] = {}, [peer.request_ids] = {} }

local function read_request_ids(q, request_ids)
    for first = 1, #request_ids, 1000 do
        local last = math.min(first + 999, #request_ids)
        local indexes = redis.call('HMGET', q.request_ids, unpack(request_ids, first, last))
        for position, index in ipairs(indexes) do
            ids[q.request_ids][request_ids[first + position - 1]] = index
        end
    end
end

local function first_of(q, request_id)
    local known = ids[q.request_ids]
    local index = known[request_id]
    if index == nil then
        index = redis.call('HGET', q.request_ids, request_id)
        known[request_id] = index
    end
    return index
end

local function set_first(q, request_id, index)
    ids[q.request_ids][request_id] = index
    changed_ids[q.request_ids][request_id] = true
end

-- Whether the queue has several entries of one request id, as few have.
local any_repeated = {}

local function are_any_repeated(q)
    if any_repeated[q] == nil then
        any_repeated[q] = redis.call('EXISTS', q.repeated_ids) == 1
    end
    return any_repeated[q]
end

local function repeated(q, request_id)
    return redis.call('ZRANGEBYLEX', q.repeated_ids,
        '[' .. request_id .. SEP, '(' .. request_id .. ' ')
end

local function link(q, request_id, index)
    if first_of(q, request_id) then
        redis.call('ZADD', q.repeated_ids, 0, request_id .. SEP .. padded(index))
        any_repeated[q] = true
    else
        set_first(q, request_id, index)
    end
end

local function unlink(q, request_id, index)
    if first_of(q, request_id) ~= index then
        redis.call('ZREM', q.repeated_ids, request_id .. SEP .. padded(index))
        return
    end
    local next_one = are_any_repeated(q) and repeated(q, request_id)[1]
    if next_one then
        redis.call('ZREM', q.repeated_ids, next_one)
        set_first(q, request_id, unpadded(string.sub(next_one, #request_id + 2)))
    else
        set_first(q, request_id, false)
    end
end

local function flush()
    for key, request_ids in pairs(changed_ids) do
        for request_id in pairs(request_ids) do
            local index = ids[key][request_id]
            if index then
                Writes.later('HSET', key, request_id, index)
            else
                Writes.later('HDEL', key, request_id)
            end
        end
        changed_ids[key] = {}
    end
end

return {
    read_request_ids = read_request_ids, first_of = first_of, repeated = repeated, link = link,
    unlink = unlink, flush = flush,
}
