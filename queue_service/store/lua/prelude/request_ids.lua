-- prelude/request_ids: from a request id to its entries.

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

local function repeated(q, request_id)
    return redis.call('ZRANGEBYLEX', q.repeated_ids,
        '[' .. request_id .. SEP, '(' .. request_id .. ' ')
end

local function link(q, request_id, index)
    if first_of(q, request_id) then
        redis.call('ZADD', q.repeated_ids, 0, request_id .. SEP .. padded(index))
        groups_of(q).any_repeated = true
    else
        set_first(q, request_id, index)
    end
end

local function unlink(q, request_id, index)
    if first_of(q, request_id) ~= index then
        redis.call('ZREM', q.repeated_ids, request_id .. SEP .. padded(index))
        return
    end
    local next_one = groups_of(q).any_repeated and repeated(q, request_id)[1]
    if next_one then
        redis.call('ZREM', q.repeated_ids, next_one)
        set_first(q, request_id, unpadded(string.sub(next_one, #request_id + 2)))
    else
        set_first(q, request_id, false)
    end
end

local meanings_made

-- What a request id may mean to those who see the entries of every owner.  Made at its first use,
-- as most calls have none.
local function meanings()
    if meanings_made then
        return meanings_made
    end
    local meant = {}
    meanings_made = meant

    -- The owners that have something under a request id, some of them.
    function meant.owners(request_id, most)
        local owners, after = {}, '[' .. SEP .. request_id .. SEP
        while #owners < most do
            local member = redis.call('ZRANGEBYLEX', owned, after,
                '(' .. SEP .. request_id .. ' ', 'LIMIT', 0, 1)[1]
            if not member then
                break
            end
            local owner = string.match(string.sub(member, #request_id + 3), '^[^\31]*')
            owners[#owners + 1] = owner
            after = '(' .. SEP .. request_id .. SEP .. owner .. ' '
        end
        return owners
    end

    function meant.is_known(name)
        return first_of(input, name) or first_of(sink, name)
            or redis.call('HEXISTS', tickets, name) == 1
    end

    -- "<request id>@<owner>", as a reader of the input queue sees an owned entry; or nil.
    function meant.qualified(request_id)
        local plain, owner = string.match(request_id, '^(.*)@([^@]+)$')
        return plain and owner .. OWNED .. plain
    end

    -- The name, as it is stored, that a request id means to those who see everything: the service's
    -- own, or with its owner another one's.  A plain id never means an owned entry: else a token that
    -- guesses the id could answer in place of the service's own entry once that has gone.
    function meant.of(request_id)
        if format_of[input] < OWNED_FORMAT or meant.is_known(request_id) then
            return request_id
        end
        local qualified = meant.qualified(request_id)
        return qualified and meant.is_known(qualified) and qualified or request_id
    end

    function meant.may_mean(request_id, name)
        return owner_of(name) ~= '' and meant.of(request_id) == name
    end
    return meant
end

local function write_request_ids()
    for key, request_ids in pairs(changed_ids) do
        for request_id in pairs(request_ids) do
            local index = ids[key][request_id]
            if index then
                later('HSET', key, request_id, index)
            else
                later('HDEL', key, request_id)
            end
        end
        changed_ids[key] = {}
    end
end
