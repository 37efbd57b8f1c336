-- prelude/owners: the owner of each entry.
-- uses: writes
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
local function no_changes()
    return { members = {}, held = { [input] = {}, [sink] = {} } }
end
local owned_changes = no_changes()

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
    if format_of[input] < OWNED_FORMAT then
        format_of[input] = OWNED_FORMAT
        redis.call('HSET', input.meta, 'format', OWNED_FORMAT)
    end
end

-- How many entries an owner has in a lane.
local function count(q, owner, lane)
    local prefix = owner .. SEP .. place_of(q, lane)
    return redis.call('ZLEXCOUNT', owned, '[' .. prefix .. SEP, '(' .. prefix .. ' ')
end

-- How many entries there are, all of them or an owner's.
local function length_for(q, owner)
    if owner == '' then
        return length(q)
    end
    return count(q, owner, 0) + count(q, owner, 1)
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

-- For a call that is to read it.
local function write_now()
    write_owned(redis.call)
    owned_changes = no_changes()
end

local function flush()
    write_owned(Writes.later)
    owned_changes = no_changes()
end

return {
    OWNED = OWNED, OWNED_FORMAT = OWNED_FORMAT, owner_of = owner_of, plain_of = plain_of,
    place_of = place_of, padded_id = padded_id, note_owned = note_owned, count = count,
    length_for = length_for, sees = sees, write_now = write_now, flush = flush,
}
