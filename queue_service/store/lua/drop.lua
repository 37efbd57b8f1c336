-- drop: remove both queues of a service with everything that belongs to them.
--
-- returns  {entries of this queue, entries of the other one}
write_although_full()
local gone = { length(own), length(peer) }
redis.call('UNLINK', unpack(KEYS))
return gone
