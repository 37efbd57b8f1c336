-- expire: end the leases that are over, and forget groups and takings that are.
-- uses: entries, gaps, groups, pauses, subscribers
-- writes
--
-- argv     4  lease in ms
--          5  how long a group without members is remembered, in ms
--          6  "1" when the caller has looked before: it holds its connections and renews their leases
-- returns  {deliveries released, subscribers ended, ms until the next lease ends or -1,
--          how many stops there are, ms until something is due (see due.lua) or -1}
write_although_full()
local lease_ms, remembered_ms = tonumber(ARGV[4]), tonumber(ARGV[5])
local LIMIT = 100 -- subscribers ended in one call
local now = now_ms()

-- No call of this script for more than half a lease means that Redis or every replica was away.
-- Nobody could renew a lease in that time, so an expired lease does not mean a lost subscriber.  Each
-- lease is extended, except those of connections that are known to be closed.
--
-- By how much depends on who renews them.  After a stall or an outage of Redis the replicas still hold
-- their connections and renew all leases within a third of a lease; a longer extension would only delay
-- the deliveries of a machine that disappeared.  After a restart, or an outage as long as a lease,
-- subscribers may have to connect again, which takes longer.
local last_look = tonumber(redis.call('HGET', own.meta, 'looked') or now)
redis.call('HSET', own.meta, 'looked', now)
local gap_ms = now - last_look
if gap_ms > math.max(2000, lease_ms / 2) then
    local still_connected = ARGV[6] == '1' and gap_ms < lease_ms
    local RENEWAL_MARGIN_MS = 1000 -- a renewal starts a third of a lease after the one before
    local extended = still_connected and math.min(lease_ms, lease_ms / 3 + RENEWAL_MARGIN_MS) or lease_ms
    local least = string.format('%.0f', now + extended)
    for _, subscriber in ipairs(redis.call('ZRANGEBYSCORE', own.leases, '-inf', least)) do
        if redis.call('HGET', own.subscribers, subscriber .. SEP .. 'session') ~= '' then
            redis.call('ZADD', own.leases, least, subscriber)
        end
    end
end

local released, ended_subscribers = 0, 0
local over = redis.call('ZRANGEBYSCORE', own.leases, '-inf', now, 'LIMIT', 0, LIMIT)
for _, subscriber in ipairs(over) do
    local gid, uid = string.match(subscriber, '^([^\31]*)\31(.*)$')
    local held = Subscribers.release_all(own, gid, uid)
    released = released + held
    Subscribers.forget_subscriber(own, gid, uid, now, held)
    ended_subscribers = ended_subscribers + 1
end
-- What follows looks at all groups, gaps and leases as they are stored.
flush()

-- All that are forgotten together: their fields are found by looking at every field.
local forgotten
local members = redis.call('HGETALL', own.members)
for position = 1, #members, 2 do
    local gid = members[position]
    if tonumber(members[position + 1]) <= 0 and Groups.group_value(own, gid, 'resident') == 0
        and now - Groups.group_value(own, gid, 'left') > remembered_ms
    then
        forgotten = forgotten or {}
        forgotten[gid] = true
    end
end
if forgotten then
    Groups.forget_groups(forgotten)
end
redis.call('ZREMRANGEBYSCORE', own.taken, '-inf', now)
if role == 'input' then
    Gaps.forget(Entries.oldest(input))
end

local soonest = redis.call('ZRANGE', own.leases, 0, 0, 'WITHSCORES')
local wait_ms = -1
if soonest[2] then
    wait_ms = math.max(0, tonumber(soonest[2]) - now)
end
return { released, ended_subscribers, wait_ms, redis.call('HLEN', stops), Pauses.ms_until_due(now) }
