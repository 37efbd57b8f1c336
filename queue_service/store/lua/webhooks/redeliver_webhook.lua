-- redeliver_webhook: send a delivery again, from its first attempt, under the same webhook id.
--
-- keys     1  deliveries    2  the buckets    3  the due deliveries of its bucket    4  delivered ones
--          5  failed ones                                   (see webhook_deliveries.py)
-- argv     1  id    2  bucket    3  channel of the service
-- returns  1, or 0 when there is no such delivery
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local text = redis.call('HGET', KEYS[1], ARGV[1])
if not text then
    return 0
end
local delivery = cjson.decode(text)
delivery.state, delivery.attempts, delivery.next_at = 'pending', 0, now
redis.call('HSET', KEYS[1], ARGV[1], cjson.encode(delivery))
redis.call('ZREM', KEYS[4], ARGV[1])
redis.call('ZREM', KEYS[5], ARGV[1])
redis.call('ZADD', KEYS[3], string.format('%.0f', now), ARGV[1])
redis.call('ZADD', KEYS[2], 'LT', string.format('%.0f', now), ARGV[2])
redis.call('PUBLISH', ARGV[3], 'webhooks')
return 1
