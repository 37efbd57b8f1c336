-- history: record how long deliveries were held, and return the latest of these times.
-- writes
--
-- keys     62  the history
-- argv     4   most that are kept
--          5   for how long, in ms
--          then the times, in ms
-- returns  all that are known, the newest first
if #ARGV > 5 then
    redis.call('LPUSH', KEYS[OWN_KEYS], unpack(ARGV, 6))
    redis.call('LTRIM', KEYS[OWN_KEYS], 0, ARGV[4] - 1)
    redis.call('PEXPIRE', KEYS[OWN_KEYS], ARGV[5])
end
return redis.call('LRANGE', KEYS[OWN_KEYS], 0, -1)
