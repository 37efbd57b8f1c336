-- prelude/owners: whose an entry is.
--
-- An entry that a token puts is stored under the name "<owner>\30<request id>", so ids of two owners
-- never meet in any key, and a result, an event or a dead letter belongs to the owner of its
-- input.  The service's own token has the owner "", and its names are stored as they are.  A group
-- of the sink and a user of the input queue carry the owner of their token in the same way: such a
-- group sees its owner's entries and no others.
--
-- `owned` lists what each owner has, so that no owner pays for what others have: owner, place,
-- what.  And the same by request id, for those who see everything: "", request id, owner, place,
-- what.  Places: i0, i1, s0, s1 (queue and lane; what is the index), d (the id in `delayed`),
-- t (a ticket; what is the request id).
local OWNED = '\30'
-- The format from which on there may be owned entries.
local OWNED_FORMAT = 3

local function owner_of(name)
    local at = string.find(name, OWNED, 1, true)
    return at and string.sub(name, 1, at - 1) or ''
end

local function plain_of(name)
    local at = string.find(name, OWNED, 1, true)
    return at and string.sub(name, at + 1) or name
end

local function place_of(q, lane)
    return (q == input and 'i' or 's') .. lane
end

-- The id of a delayed entry, so that the order of texts is that of time.
local function padded_id(id)
    local at, number = string.match(id, '^(%d+)-(%d+)$')
    return padded(at) .. '-' .. padded(number)
end

-- What changed in `owned` in this call, by member; the last change of a member is what counts.  And by
-- how much it changed what an owner has in a queue, those that wait for their time among it.
local owned_changes = { members = {}, held = { [input] = {}, [sink] = {} } }

local function note_owned(place, name, what, is_there)
    local owner = owner_of(name)
    if owner == '' then
        return
    end
    local members = owned_changes.members
    members[owner .. SEP .. place .. SEP .. what] = is_there
    members[SEP .. plain_of(name) .. SEP .. owner .. SEP .. place .. SEP .. what] = is_there
    if place ~= 't' then
        local held = owned_changes.held[string.sub(place, 1, 1) == 's' and sink or input]
        held[owner] = (held[owner] or 0) + (is_there and 1 or -1)
    end
end

-- write: `later`, or redis.call where this call is to read it.
local function write_owned(write)
    if not next(owned_changes.members) then
        return
    end
    for member, is_there in pairs(owned_changes.members) do
        if is_there then
            write('ZADD', owned, 0, member)
        else
            write('ZREM', owned, member)
        end
    end
    local function add(q, owner, by)
        if by ~= 0 and tonumber(redis.call('ZINCRBY', q.holders, by, owner)) == 0 then
            redis.call('ZREM', q.holders, owner)
        end
    end
    for q, held in pairs(owned_changes.held) do
        local sum = 0
        for owner, by in pairs(held) do
            add(q, owner, by)
            sum = sum + by
        end
        add(q, '', -sum)
    end
    owned_changes = { members = {}, held = { [input] = {}, [sink] = {} } }
    if format_of[input] < OWNED_FORMAT then
        format_of[input] = FORMAT
        redis.call('HSET', input.meta, 'format', FORMAT)
    end
end

local lists_made

-- What reads entries: all of them where the owner is "", else an owner's alone.  Made at its
-- first use, as most calls have none.
local function lists()
    if lists_made then
        return lists_made
    end
    local entries = {}
    lists_made = entries

    function entries.count(q, owner, lane)
        local prefix = owner .. SEP .. place_of(q, lane)
        return redis.call('ZLEXCOUNT', owned, '[' .. prefix .. SEP, '(' .. prefix .. ' ')
    end

    -- The entries of one lane from an index on, and below another where one is given, all of them or
    -- an owner's, as XRANGE gives them.  `bound` is "(" to leave out the first index itself, else "".
    function entries.from(q, owner, lane, bound, index, most, below)
        if owner == '' then
            local last = below and '(' .. below .. '-0' or '+'
            return redis.call('XRANGE', q.lanes[lane], bound .. index .. '-0', last, 'COUNT', most)
        end
        local place, items = owner .. SEP .. place_of(q, lane), {}
        local from = (bound == '' and '[' or bound) .. place .. SEP .. padded(index)
        local last = '(' .. place .. (below and SEP .. padded(below) or ' ')
        local members = redis.call('ZRANGEBYLEX', owned, from, last, 'LIMIT', 0, most)
        for _, member in ipairs(members) do
            local id = unpadded(string.sub(member, #place + 2)) .. '-0'
            items[#items + 1] = redis.call('XRANGE', q.lanes[lane], id, id)[1]
        end
        return items
    end

    -- The same downwards, below an index, "" for the end.
    function entries.below(q, owner, lane, index, most)
        if owner == '' then
            local below = index == '' and '+' or '(' .. index .. '-0'
            return redis.call('XREVRANGE', q.lanes[lane], below, '-', 'COUNT', most)
        end
        local place, items = owner .. SEP .. place_of(q, lane), {}
        local below = '(' .. place .. (index == '' and ' ' or SEP .. padded(index))
        local members = redis.call('ZREVRANGEBYLEX', owned, below, '[' .. place .. SEP, 'LIMIT', 0, most)
        for _, member in ipairs(members) do
            local id = unpadded(string.sub(member, #place + 2)) .. '-0'
            items[#items + 1] = redis.call('XRANGE', q.lanes[lane], id, id)[1]
        end
        return items
    end

    -- The first and the last index of one lane, of all of its entries or of an owner's.
    function entries.ends(q, owner, lane)
        local first = entries.from(q, owner, lane, '', '0', 1)[1]
        if not first then
            return nil
        end
        local last = entries.below(q, owner, lane, '', 1)[1]
        return string.match(first[1], '^%d+'), string.match(last[1], '^%d+')
    end

    -- How many entries a read keeps to itself just now, of all of them or of an owner's.
    function entries.taken(q, owner, now)
        if owner == '' then
            return redis.call('ZCOUNT', q.taken, '(' .. now, '+inf')
        end
        local MOST, count = 1000, 0
        local indexes = redis.call('ZRANGEBYSCORE', q.taken, '(' .. now, '+inf', 'LIMIT', 0, MOST)
        for _, index in ipairs(indexes) do
            for lane = 0, 1 do
                local member = owner .. SEP .. place_of(q, lane) .. SEP .. padded(index)
                count = count + (redis.call('ZSCORE', owned, member) and 1 or 0)
            end
        end
        return count
    end
    return entries
end

-- How many entries there are, all of them or an owner's.
local function length_for(q, owner)
    if owner == '' then
        return length(q)
    end
    return lists().count(q, owner, 0) + lists().count(q, owner, 1)
end

-- Whether a group may have an entry.  Pass the entry's name where you have it: that saves a read.
local function sees(q, gid, index, name)
    local owner = owner_of(gid)
    if owner == '' then
        return true
    end
    if not name then
        local fields = read(q, index)
        name = fields and fields[REQUEST_ID]
    end
    return name and owner_of(name) == owner
end
