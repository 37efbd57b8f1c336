-- look_at_webhooks: find what there is to do for the webhooks of a service.
--
-- keys     1  the outbox    2  the buckets                       (see webhook_deliveries.py)
-- argv     1  most entries of the outbox    2  most buckets
--          3..  buckets that come first: jobs may name any number of hosts, which must not hide them
-- returns  {{id, fields}... of the outbox, the buckets that have something due, ms until another one has
--          or -1}
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local found = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', ARGV[1])
local due, is_first = {}, {}
for position = 3, #ARGV do
    local at = redis.call('ZSCORE', KEYS[2], ARGV[position])
    if at and tonumber(at) <= now then
        due[#due + 1], is_first[ARGV[position]] = ARGV[position], true
    end
end
for _, bucket in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, ARGV[2])) do
    if not is_first[bucket] then
        due[#due + 1] = bucket
    end
end
local later = redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. now, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
return { found, due, later[2] and math.max(0, tonumber(later[2]) - now) or -1 }
