-- release: a connection has ended; what its subscriber holds is delivered again.
-- uses: groups, subscribers
-- writes
--
-- With a grace period that happens at its end (see expire), unless the same user connects again
-- before; until then the subscriber receives nothing.
--
-- argv     4  group
--          5  user
--          6  session of the ended connection
--          7  grace in ms
--          8  1 when the deliveries count as attempts; with a grace they do
-- returns  how many deliveries it holds or held, or -1 when a newer connection has taken over
write_although_full()
local gid, uid, session, grace_ms = ARGV[4], ARGV[5], ARGV[6], tonumber(ARGV[7])
local subscriber = gid .. SEP .. uid
if redis.call('HGET', own.subscribers, subscriber .. SEP .. 'session') ~= session then
    return -1
end

local now = now_ms()
local held = tonumber(redis.call('HGET', own.subscribers, subscriber .. SEP .. 'held'))
if held > 0 and grace_ms > 0 then
    Groups.set_subscriber(own, gid, uid, 0, held)
    redis.call('HSET', own.subscribers, subscriber .. SEP .. 'session', '')
    redis.call('ZADD', own.leases, now + grace_ms, subscriber)
    return held
end
Subscribers.release_all(own, gid, uid, ARGV[8] == '0')
Subscribers.forget_subscriber(own, gid, uid, now, held)
return held
