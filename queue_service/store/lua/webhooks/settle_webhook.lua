-- settle_webhook: record the outcome of an attempt.
--
-- keys     1  deliveries    2  the buckets    3  the due deliveries of its bucket    4  delivered ones
--          5  failed ones    6  endpoints that want nothing any more    (see webhook_deliveries.py)
-- argv     1  id    2  bucket    3  the number of the attempt
--          4  "delivered", "failed", "retry", or "released" if nothing was sent
--          5  ms until the next attempt    6  what to note (JSON)
--          7  most delivered ones that are kept    8  the same of failed ones
--          9  "1" when the endpoint wants nothing any more
-- returns  1, or 0 when the delivery has ended, or another process has it
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local id, bucket, outcome = ARGV[1], ARGV[2], ARGV[4]
if ARGV[9] == '1' then
    redis.call('HSET', KEYS[6], bucket, string.format('%.0f', now))
end
local text = redis.call('HGET', KEYS[1], id)
local delivery = text and cjson.decode(text)
-- A delivery that arrived counts as delivered, even if its lease had ended.
local is_ours = delivery and (delivery.attempts == tonumber(ARGV[3]) or outcome == 'delivered')
if not is_ours or delivery.state ~= 'pending' then
    return 0
end
for name, value in pairs(cjson.decode(ARGV[6])) do
    delivery[name] = value
end
delivery.last_at = now

local function keep_in(key, most)
    redis.call('ZREM', KEYS[3], id)
    delivery.state = outcome
    redis.call('ZADD', key, string.format('%.0f', now), id)
    local beyond = redis.call('ZCARD', key) - most
    if beyond > 0 then
        for _, old in ipairs(redis.call('ZRANGE', key, 0, math.min(beyond, 100) - 1)) do
            redis.call('ZREM', key, old)
            redis.call('HDEL', KEYS[1], old)
        end
    end
end

if outcome == 'delivered' then
    keep_in(KEYS[4], tonumber(ARGV[7]))
elseif outcome == 'failed' then
    keep_in(KEYS[5], tonumber(ARGV[8]))
else
    if outcome == 'released' then
        delivery.attempts = delivery.attempts - 1
    end
    delivery.next_at = now + tonumber(ARGV[5])
    redis.call('ZADD', KEYS[3], string.format('%.0f', delivery.next_at), id)
end
redis.call('HSET', KEYS[1], id, cjson.encode(delivery))
local first = redis.call('ZRANGE', KEYS[3], 0, 0, 'WITHSCORES')
if first[2] then
    redis.call('ZADD', KEYS[2], first[2], bucket)
else
    redis.call('ZREM', KEYS[2], bucket)
end
return 1
