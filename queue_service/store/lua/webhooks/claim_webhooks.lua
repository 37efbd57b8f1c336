-- claim_webhooks: take due deliveries under a lease.
--
-- A claim counts as an attempt: the process may end after it has sent, before it says so.
--
-- keys     1  deliveries    2  the buckets    3  endpoints that want nothing any more
--                                                          (see webhook_deliveries.py)
--          4..  the due deliveries of each bucket
-- argv     1  how long the lease lasts, ms
--          then for each bucket: its name, the most deliveries
-- returns  {bucket, id, delivery (JSON)}...
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local GONE_MS = 60000
local AT_ONCE = 200 -- deliveries to a gone endpoint that one call removes
local claimed = {}

local function claim(key, bucket, most)
    for _, id in ipairs(redis.call('ZRANGEBYSCORE', key, '-inf', now, 'LIMIT', 0, most)) do
        local text = redis.call('HGET', KEYS[1], id)
        if text then
            local delivery = cjson.decode(text)
            delivery.attempts = delivery.attempts + 1
            text = cjson.encode(delivery)
            redis.call('HSET', KEYS[1], id, text)
            redis.call('ZADD', key, string.format('%.0f', now + tonumber(ARGV[1])), id)
            claimed[#claimed + 1] = { bucket, id, text }
        else
            redis.call('ZREM', key, id)
        end
    end
end

local function remove(key)
    for _, id in ipairs(redis.call('ZRANGE', key, 0, AT_ONCE - 1)) do
        redis.call('ZREM', key, id)
        redis.call('HDEL', KEYS[1], id)
    end
end

for position = 2, #ARGV, 2 do
    local key, bucket = KEYS[3 + position / 2], ARGV[position]
    -- Other processes soon learn that the endpoint is disabled.  The mark expires, so that a late one
    -- does no harm to an endpoint that was set up again.
    local gone_at = redis.call('HGET', KEYS[3], bucket)
    if gone_at and now - tonumber(gone_at) < GONE_MS then
        remove(key)
    else
        claim(key, bucket, tonumber(ARGV[position + 1]))
    end
    local first = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')
    if first[2] then
        redis.call('ZADD', KEYS[2], first[2], bucket)
    else
        redis.call('ZREM', KEYS[2], bucket)
    end
end
return claimed
