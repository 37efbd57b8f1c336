-- subscribe: a connection becomes the subscriber (group, user), or takes it over.
-- uses: groups, owners, records, redelivery, subscribers
-- writes
--
-- What the same user held through an earlier connection is put back and reserved for it: no other
-- subscriber receives it while this one is connected.  A worker claims what it still runs and keeps
-- that; what it does not claim goes to any worker with room.
--
-- argv     4  group
--          5  user
--          6  session of this connection
--          7  window
--          8  lease in ms
--          9  filter (JSON), "" for none
--          10 about (JSON): shown in attributes, not interpreted
--          11 "1" when the group stays while it has no members (the workers' own)
--          12 "1" when the lower bound is the entry that comes next
--          then for each claim: index, attempt
-- returns  {how many are still held, {the positions (from 0) of claims that are lost}}, or {"groups",
--          count}, {"users", count} when there may be no more of them
write_although_full()
local gid, uid, session = ARGV[4], ARGV[5], ARGV[6]
local window, lease_ms, filter = tonumber(ARGV[7]), tonumber(ARGV[8]), ARGV[9]
local subscriber = gid .. SEP .. uid

local resident = ARGV[11] == '1'

-- Each group adds to the cost of every entry, and is kept for a while after its last member has left.
-- A new group above the limit replaces the owner's group that was left first.
local MOST_GROUPS, MOST_OWN_GROUPS = 1000, 50
-- Users of an owner's groups.  Those of the service's own are as many as there are connections.
local MOST_OWN_USERS = 1000

local function count_users(owner)
    local count, members = 0, redis.call('HGETALL', own.members)
    for position = 1, #members, 2 do
        if Owners.owner_of(members[position]) == owner then
            count = count + tonumber(members[position + 1])
        end
    end
    return count
end

local function has_place_for_group()
    local owner, count, first, first_left = Owners.owner_of(gid), 0, nil, nil
    local members = redis.call('HGETALL', own.members)
    for position = 1, #members, 2 do
        local other = members[position]
        if Owners.owner_of(other) == owner then
            count = count + 1
            local left = Groups.group_value(own, other, 'left')
            if tonumber(members[position + 1]) <= 0 and Groups.group_value(own, other, 'resident') == 0
                and (not first or left < first_left)
            then
                first, first_left = other, left
            end
        end
    end
    local beyond = count >= (owner == '' and MOST_GROUPS or MOST_OWN_GROUPS)
    if beyond and first then
        Groups.forget_groups({ [first] = true })
    end
    return first or not beyond, count
end

if Owners.owner_of(gid) ~= '' and redis.call('HEXISTS', own.subscribers, subscriber .. SEP .. 'held') == 0
    and count_users(Owners.owner_of(gid)) >= MOST_OWN_USERS
then
    return { 'users', MOST_OWN_USERS }
end
if not resident and redis.call('HEXISTS', own.members, gid) == 0 then
    local has_place, count = has_place_for_group()
    if not has_place then
        return { 'groups', count }
    end
end
local claims, kept, reserved, lost = {}, 0, 0, {}
for position = 13, #ARGV, 2 do
    local index = ARGV[position]
    local record = Records.record_of(own, gid, index)
    if record and record.state == 'h' and record.uid == uid
        and record.attempt == tonumber(ARGV[position + 1])
    then
        claims[index] = true
    else
        lost[#lost + 1] = (position - 13) / 2
    end
end

local known = redis.call('HGET', own.subscribers, subscriber .. SEP .. 'held')
if known then
    local prefix = subscriber .. SEP
    local members = redis.call('ZRANGEBYLEX', own.holds, '[' .. prefix, '(' .. subscriber .. ' ')
    for _, member in ipairs(members) do
        local index = unpadded(string.sub(member, #prefix + 1))
        if claims[index] then
            kept = kept + 1
        else
            -- Entries beyond the window would wait for it, so any subscriber may have them.
            local reserve = not resident and reserved < window
            Redelivery.put_back(own, gid, index, Records.record_of(own, gid, index), reserve and 'o' or 'r')
            reserved = reserved + (reserve and 1 or 0)
        end
    end
    -- The sums of this subscriber are set below, from what is stored.
    flush()
else
    redis.call('HINCRBY', own.members, gid, 1)
    redis.call('HDEL', own.groups, gid .. SEP .. 'left')
    Subscribers.write_departed(own, gid, Subscribers.departed_without(own, gid, uid))
end
local alone = tonumber(redis.call('HGET', own.members, gid)) == 1

if ARGV[12] == '1' then
    local bound = cjson.decode(filter)
    bound.from = tonumber(redis.call('HGET', own.meta, 'last') or 0) + 1
    filter = cjson.encode(bound)
end
local group_filter = redis.call('HGET', own.groups, gid .. SEP .. 'filter')
local known_from = group_filter and group_filter ~= '' and cjson.decode(group_filter).from or 0
if group_filter ~= filter then
    -- The new filter may match what the old one has skipped.
    local members = redis.call('ZRANGEBYLEX', own.skipped, '[' .. gid .. SEP, '(' .. gid .. ' ')
    for _, member in ipairs(members) do
        redis.call('ZREM', own.skipped, member)
        redis.call('ZADD', own.released, 0, member)
    end
    redis.call('HSET', own.groups, gid .. SEP .. 'skipped', 0, gid .. SEP .. 'filter', filter)
    -- The group has several filters now: the lowest bound of any, for as long as it is mixed.
    if not alone then
        local floor = redis.call('HGET', own.groups, gid .. SEP .. 'floor')
        local from = filter ~= '' and cjson.decode(filter).from or 0
        redis.call('HSET', own.groups, gid .. SEP .. 'floor',
            math.min(from, tonumber(floor or known_from)))
    end
end
if alone then
    redis.call('HDEL', own.groups, gid .. SEP .. 'floor')
end
if resident then
    redis.call('HSET', own.groups, gid .. SEP .. 'resident', 1)
end

Groups.set_subscriber(own, gid, uid, window, kept)
redis.call('HSET', own.subscribers, subscriber .. SEP .. 'session', session,
    subscriber .. SEP .. 'filter', filter, subscriber .. SEP .. 'about', ARGV[10],
    subscriber .. SEP .. 'reserved', reserved)
local now = now_ms()
redis.call('ZADD', own.leases, now + lease_ms, subscriber)
-- An outage may begin before `expire` runs for the first time.
redis.call('HSETNX', own.meta, 'looked', now)
-- Every replica hears this ring, also one with an older connection of this user.
ring(role)
return { kept, lost }
