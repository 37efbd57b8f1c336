-- report_scale: an autoscaler takes, renews or gives back its lease, and reports what it decided.
-- writes
--
-- What an autoscaler reported stays when its lease ends: the next one continues from it.
--
-- keys     62  the autoscaler's lease and last report     (see scaling.py)
-- argv     4   the autoscaler
--          5   its lease in ms; 0 gives the lease back
--          6   how long the report is kept, in ms
--          7   "1" when it reports a decision
--          then what it reports: name, value...
-- returns  {"ok"}, or {"held", the autoscaler that has the lease, ms until that lease ends}
local key, holder, lease_ms = KEYS[OWN_KEYS], ARGV[4], tonumber(ARGV[5])
local now = now_ms()
local known = redis.call('HMGET', key, 'holder', 'until')
if known[1] and known[1] ~= holder and tonumber(known[2]) > now then
    return { 'held', known[1], string.format('%.0f', tonumber(known[2]) - now) }
end
if lease_ms == 0 then
    redis.call('HDEL', key, 'holder', 'until')
    return { 'ok' }
end
redis.call('HSET', key, 'holder', holder, 'until', string.format('%.0f', now + lease_ms))
if ARGV[7] == '1' then
    redis.call('HSET', key, 'decided_at', string.format('%.0f', now))
end
if ARGV[8] then
    redis.call('HSET', key, unpack(ARGV, 8))
end
redis.call('PEXPIRE', key, ARGV[6])
return { 'ok' }
