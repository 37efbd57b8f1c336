-- pause: deliver no more entries of the input queue, or deliver them again.
-- writes
--
-- What workers hold stays theirs, and their answers are stored.
--
-- argv     4  "1" to pause, "0" to resume
-- returns  since when it is paused, ms since 1970, or ""
write_although_full()
if ARGV[4] == '1' then
    -- Pausing twice changes nothing: it is paused since the first time.
    redis.call('HSETNX', own.meta, 'paused', string.format('%.0f', now_ms()))
else
    redis.call('HDEL', own.meta, 'paused')
end
-- For every dispatcher, and for clients that follow a job: when it may start has changed.
ring(role)
return redis.call('HGET', own.meta, 'paused') or ''
