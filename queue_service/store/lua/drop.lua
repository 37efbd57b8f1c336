-- drop: remove both queues of a service with everything that belongs to them.
-- writes
--
-- Usage is kept for its time, because it may be billed.
--
-- keys     62  the autoscaler's lease and last report
--          63  what workers declare
-- argv     4   for how long usage is kept, in ms
-- returns  {entries of this queue, entries of the other one, dead letters of this one, of the other}
write_although_full()
local gone = { length(own), length(peer),
    redis.call('ZCARD', own.dead_order), redis.call('ZCARD', peer.dead_order) }
for _, key in ipairs(KEYS) do
    if key == usage or key == usage_hours then
        redis.call('PEXPIRE', key, ARGV[4])
    else
        redis.call('UNLINK', key)
    end
end
return gone
