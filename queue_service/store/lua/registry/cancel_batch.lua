-- cancel_batch: note that an open batch is canceled; the process that runs it reads that.
--
-- keys     1  the batch    2  open batches                     (see batch_index.py)
-- argv     1  id
-- returns  1, or 0 when it is not open
if not redis.call('ZSCORE', KEYS[2], ARGV[1]) then
    return 0
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('HSETNX', KEYS[1], 'canceled_at', string.format('%.0f', now))
return 1
