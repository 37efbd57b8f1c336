-- write_batch: write the state of a batch under its lease, and extend that.
--
-- keys     1  the batch    2  open batches                     (see batch_index.py)
-- argv     1  id    2  epoch of the lease    3  how long it lasts from now, ms
--          4  state, "" for no change
-- returns  when the batch was canceled, "0" if it was not; nil when this is no longer its lease
if redis.call('HGET', KEYS[1], 'epoch') ~= ARGV[2] or not redis.call('ZSCORE', KEYS[2], ARGV[1]) then
    return false
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if ARGV[4] ~= '' then
    redis.call('HSET', KEYS[1], 'state', ARGV[4])
end
redis.call('ZADD', KEYS[2], string.format('%.0f', now + tonumber(ARGV[3])), ARGV[1])
return redis.call('HGET', KEYS[1], 'canceled_at') or '0'
