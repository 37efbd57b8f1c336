-- end_batch: write the final state of a batch under its lease.
--
-- keys     1  the batch    2  open batches    3  counts    4  ended batches
--                                                          (see batch_index.py)
-- argv     1  id    2  epoch of the lease    3  state    4  owner    5  how long it is kept, ms
-- returns  1, or 0 when this is no longer its lease
if redis.call('HGET', KEYS[1], 'epoch') ~= ARGV[2] or redis.call('ZREM', KEYS[2], ARGV[1]) == 0 then
    return 0
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('HSET', KEYS[1], 'state', ARGV[3])
redis.call('ZADD', KEYS[4], string.format('%.0f', now + tonumber(ARGV[5])), ARGV[1])
local own_field = '=' .. ARGV[4]
if redis.call('HINCRBY', KEYS[3], own_field, -1) <= 0 then
    redis.call('HDEL', KEYS[3], own_field)
end
return 1
