-- forget_deliveries: remove the waiting deliveries of a bucket, some at a time.
--
-- keys     1  deliveries    2  the buckets    3  the due deliveries of the bucket
--                                                          (see webhook_deliveries.py)
-- argv     1  bucket    2  most deliveries
-- returns  how many were removed
local found = redis.call('ZRANGE', KEYS[3], 0, tonumber(ARGV[2]) - 1)
for _, id in ipairs(found) do
    redis.call('ZREM', KEYS[3], id)
    redis.call('HDEL', KEYS[1], id)
end
if redis.call('EXISTS', KEYS[3]) == 0 then
    redis.call('ZREM', KEYS[2], ARGV[1])
end
return #found
