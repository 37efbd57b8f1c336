-- release: a connection has ended; what its subscriber holds goes out again.
--
-- With a grace it goes out when that is over (see expire), unless the same user connects
-- again before; until then the subscriber gets nothing more.
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
    set_subscriber(own, gid, uid, 0, held)
    redis.call('HSET', own.subscribers, subscriber .. SEP .. 'session', '')
    redis.call('ZADD', own.leases, now + grace_ms, subscriber)
    return held
end
release_all(own, gid, uid, ARGV[8] == '0')
forget_subscriber(own, gid, uid, now, held)
settle()
return held
