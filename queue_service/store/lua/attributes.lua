-- attributes: the queue in numbers, its groups and its subscribers.
-- uses: groups, lists, owners, reads, rules, stops
--
-- argv     4  owner: "" for everything, else what is its own
-- returns  {length, first index or "", last index or "", last index ever given,
--          {dead letters now, then their sums in the order below}, ms now, groups {gid, members,
--          waiting, held, users that left (JSON)}..., subscribers {gid, uid, window, held, connected "1",
--          lease end in ms, about, leaving "1"}..., "1" when the stream was ended, since when the
--          service is paused, ms since 1970, or "", places beyond the first of large entries, "1" while the
--          queue is full, bytes in Redis, bytes of files, results that were read, and those that were
--          dropped to make room, ever}
local now, owner = now_ms(), ARGV[4]
local taken = Lists.taken(own, owner, now)
local first, last
for lane = 0, 1 do
    local lowest, highest = Lists.ends(own, owner, lane)
    if lowest and (not first or tonumber(lowest) < tonumber(first)) then
        first = lowest
    end
    if highest and (not last or tonumber(highest) > tonumber(last)) then
        last = highest
    end
end

local groups = {}
local members = redis.call('HGETALL', own.members)
for position = 1, #members, 2 do
    local gid = members[position]
    if owner == '' or Owners.owner_of(gid) == owner then
        groups[#groups + 1] = { gid, members[position + 1], Groups.waiting(own, gid),
            Groups.group_value(own, gid, 'held'),
            redis.call('HGET', own.groups, gid .. SEP .. 'departed') or '[]' }
    end
end

local subscribers = {}
local leases = redis.call('ZRANGE', own.leases, 0, -1, 'WITHSCORES')
for position = 1, #leases, 2 do
    local subscriber = leases[position]
    local gid, uid = string.match(subscriber, '^([^\31]*)\31(.*)$')
    if owner == '' or Owners.owner_of(gid) == owner then
        local known = redis.call('HMGET', own.subscribers, subscriber .. SEP .. 'window',
            subscriber .. SEP .. 'held', subscriber .. SEP .. 'session',
            subscriber .. SEP .. 'about')
        subscribers[#subscribers + 1] = { gid, uid, known[1], known[2],
            known[3] ~= '' and '1' or '0', leases[position + 1], known[4],
            own == input and Stops.is_leaving(gid, uid) and '1' or '0' }
    end
end

local sums = redis.call('HMGET', own.meta, 'parked', 'dropped', 'reared', 'replayed', 'purged',
    'crowded_out')
local dead = { owner == '' and redis.call('ZCARD', own.dead_order) or 0 }
for position = 1, 6 do
    dead[position + 1] = owner == '' and sums[position] or '0'
end

-- Redis estimates this from some of the entries.  A Redis that does not say it has 0.
local function bytes_of(key)
    local SAMPLES = 20
    local found = redis.pcall('MEMORY', 'USAGE', key, 'SAMPLES', SAMPLES)
    return type(found) == 'number' and found or 0
end

local is_full, read, read_dropped = length(own) + more_places[own] >= Rules.capacity, 0, '0'
if own == sink then
    is_full, read = Reads.fill_the_sink(), Reads.count('')
    read_dropped = redis.call('HGET', own.meta, 'read_dropped') or '0'
elseif redis.call('EXISTS', delayed) == 1 then
    is_full = is_full or length(own) + more_places[own] + redis.call('XLEN', delayed) >= Rules.capacity
end
local bytes, file_bytes = 0, '0'
if owner == '' then
    bytes = bytes_of(own.lanes[0]) + bytes_of(own.lanes[1])
    file_bytes = redis.call('HGET', own.meta, 'file_bytes') or '0'
end

return { math.max(0, Owners.length_for(own, owner) - taken), first or '', last or '',
    owner == '' and redis.call('HGET', own.meta, 'last') or last or '0',
    dead, now, groups, subscribers, redis.call('HGET', own.meta, 'ended') or '0',
    role == 'input' and paused_at or '', more_places[own], is_full and '1' or '0', bytes, file_bytes,
    owner == '' and read or 0, owner == '' and read_dropped or '0' }
