-- drop: remove both queues of a service with everything that belongs to them.
-- writes
--
-- keys     60  the autoscaler's lease and last report
--          59  what workers declare
-- returns  {entries of this queue, entries of the other one, dead letters of this one, of the other}
write_although_full()
local gone = { length(own), length(peer),
    redis.call('ZCARD', own.dead_order), redis.call('ZCARD', peer.dead_order) }
redis.call('UNLINK', unpack(KEYS))
return gone
