-- set_window: change the window of a subscriber.
-- uses: groups
-- writes
--
-- argv     4  group
--          5  user
--          6  session
--          7  window
--          8  what is new about it (JSON), "" for nothing
-- returns  1, or 0 when the subscriber is no longer this connection's
write_although_full()
local gid, uid = ARGV[4], ARGV[5]
local subscriber = gid .. SEP .. uid .. SEP
if redis.call('HGET', own.subscribers, subscriber .. 'session') ~= ARGV[6] then
    return 0
end
if ARGV[8] ~= '' then
    redis.call('HSET', own.subscribers, subscriber .. 'about', ARGV[8])
end
local held = tonumber(redis.call('HGET', own.subscribers, subscriber .. 'held'))
Groups.set_subscriber(own, gid, uid, tonumber(ARGV[7]), held)
if Groups.waiting(own, gid) > 0 then
    ring(role)
end
return 1
