-- add_batch: add a batch, which then waits for a process that runs it.
--
-- keys     1  the batch    2  open batches    3  counts    4  those of this owner
--                                                          (see batch_index.py)
-- argv     1  id    2  owner    3  about    4  state    5  the most open batches of one owner
-- returns  1, or 0 when the owner has that number
if redis.call('EXISTS', KEYS[1]) == 1 then
    return 1
end
local own_field = '=' .. ARGV[2]
if tonumber(redis.call('HGET', KEYS[3], own_field) or '0') >= tonumber(ARGV[5]) then
    return 0
end
redis.call('HSET', KEYS[1], 'about', ARGV[3], 'state', ARGV[4], 'epoch', 0)
redis.call('ZADD', KEYS[2], 0, ARGV[1])
redis.call('HINCRBY', KEYS[3], own_field, 1)
redis.call('ZADD', KEYS[4], redis.call('HINCRBY', KEYS[3], '#number', 1), ARGV[1])
return 1
