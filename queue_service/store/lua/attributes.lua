-- attributes: the queue in numbers, its groups and its subscribers.
--
-- returns  {length, first index or "", last index or "", last index ever given,
--          {dead letters now, then their sums in the order below}, ms now, groups {gid, members, waiting, held,
--          who left (JSON)}..., subscribers {gid, uid, window, held, connected "1", lease end in
--          ms, about}..., "1" when the stream was ended}
local now = now_ms()
local taken = redis.call('ZCOUNT', own.taken, '(' .. now, '+inf')
local last
for lane = 0, 1 do
    local found = redis.call('XREVRANGE', own.lanes[lane], '+', '-', 'COUNT', 1)
    if found[1] then
        local index = string.match(found[1][1], '^%d+')
        if not last or tonumber(index) > tonumber(last) then
            last = index
        end
    end
end

local groups = {}
local members = redis.call('HGETALL', own.members)
for position = 1, #members, 2 do
    local gid = members[position]
    groups[#groups + 1] = { gid, members[position + 1], waiting(own, gid),
        group_value(own, gid, 'held'),
        redis.call('HGET', own.groups, gid .. SEP .. 'departed') or '[]' }
end

local subscribers = {}
local leases = redis.call('ZRANGE', own.leases, 0, -1, 'WITHSCORES')
for position = 1, #leases, 2 do
    local subscriber = leases[position]
    local gid, uid = string.match(subscriber, '^([^\31]*)\31(.*)$')
    local known = redis.call('HMGET', own.subscribers, subscriber .. SEP .. 'window',
        subscriber .. SEP .. 'held', subscriber .. SEP .. 'session', subscriber .. SEP .. 'about')
    subscribers[#subscribers + 1] = { gid, uid, known[1], known[2],
        known[3] ~= '' and '1' or '0', leases[position + 1], known[4] }
end

local sums = redis.call('HMGET', own.meta, 'parked', 'dropped', 'reared', 'replayed', 'purged',
    'crowded_out')
local dead = { redis.call('ZCARD', own.dead_order) }
for position = 1, 6 do
    dead[position + 1] = sums[position] or '0'
end

return { math.max(0, length(own) - taken), oldest(own) or '', last or '',
    redis.call('HGET', own.meta, 'last') or '0',
    dead, now, groups, subscribers, redis.call('HGET', own.meta, 'ended') or '0' }
