-- take_batch: take the lease of an open batch that no process runs.
--
-- keys     1  the batch    2  open batches                     (see batch_index.py)
-- argv     1  id    2  how long the lease lasts, ms
-- returns  {epoch, about, state, when it was canceled or "0"}; nil when a process holds the lease or
--          the batch is not open
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local ends = redis.call('ZSCORE', KEYS[2], ARGV[1])
if not ends or tonumber(ends) > now then
    return false
end
local epoch = redis.call('HINCRBY', KEYS[1], 'epoch', 1)
redis.call('ZADD', KEYS[2], string.format('%.0f', now + tonumber(ARGV[2])), ARGV[1])
local found = redis.call('HMGET', KEYS[1], 'about', 'state', 'canceled_at')
return { epoch, found[1], found[2], found[3] or '0' }
