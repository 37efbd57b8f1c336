-- progress_upload: note how much of an upload has arrived, so that it is kept.
--
-- keys     1  when each was last heard of    2  bytes    3  what each has reserved
--                                                          (see upload_index.py)
-- argv     1  id    2  owner    3  how many bytes have arrived    4  now, ms
-- returns  1, or 0 for an upload that was not noted
local reserved = redis.call('HGET', KEYS[3], ARGV[1])
if not reserved then
    return 0
end
local size, arrived = string.match(reserved, '^(%d+) (%d+)$')
local more = tonumber(ARGV[3]) - tonumber(arrived)
if more ~= 0 then
    redis.call('HSET', KEYS[3], ARGV[1], size .. ' ' .. ARGV[3])
    redis.call('HINCRBY', KEYS[2], '-', string.format('%.0f', -more))
end
redis.call('ZADD', KEYS[1], 'XX', ARGV[4], ARGV[1] .. ' ' .. ARGV[2])
return 1
