-- fan_out: turn ends in the outbox into deliveries.
--
-- keys     1  the outbox    2  deliveries    3  the buckets       (see webhook_deliveries.py)
--          4..  the due deliveries of each bucket that is named below
-- argv     1  most deliveries that may wait in one bucket
--          then for each end: its id in the outbox, how many deliveries, and for each of these its id,
--          the position of its bucket's key, the bucket, the delivery (JSON)
-- returns  how many deliveries were dropped, because their bucket is full
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local most, dropped = tonumber(ARGV[1]), 0

local function add(id, key, bucket, delivery)
    if redis.call('ZCARD', key) >= most then
        dropped = dropped + 1
    elseif redis.call('HSETNX', KEYS[2], id, delivery) == 1 then
        redis.call('ZADD', key, now, id)
        redis.call('ZADD', KEYS[3], 'LT', now, bucket)
    end
end

local position = 2
while ARGV[position] do
    -- Another process may have done the same in the meantime.
    local is_there = redis.call('XDEL', KEYS[1], ARGV[position]) == 1
    local count = tonumber(ARGV[position + 1])
    position = position + 2
    for _ = 1, count do
        if is_there then
            add(ARGV[position], KEYS[tonumber(ARGV[position + 1])], ARGV[position + 2], ARGV[position + 3])
        end
        position = position + 4
    end
end
return dropped
