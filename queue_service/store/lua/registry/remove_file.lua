-- remove_file: remove a file from the index.
--
-- keys     1  the files    2  their times    3  bytes    4  those of this owner    5  shared contents
--          6  files of this owner by their SHA-256
--                                                          (see file_index.py)
-- argv     1  id    2  owner    3  size in bytes    4  whose content it shares, or ""    5  SHA-256
-- returns  0 when it was not there, 1 when nothing has its content any more, 2 when another file has
if redis.call('HDEL', KEYS[1], ARGV[1]) == 0 then
    return 0
end
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('ZREM', KEYS[4], ARGV[1])
-- Redis takes no "-0", for an empty file.
local less = ARGV[3] == '0' and '0' or '-' .. ARGV[3]
for _, field in ipairs({ '=', '=' .. ARGV[2] }) do
    if tonumber(redis.call('HINCRBY', KEYS[3], field, less)) <= 0 then
        redis.call('HDEL', KEYS[3], field)
    end
end
if redis.call('HLEN', KEYS[1]) == 0 then
    -- The numbers may begin again.
    redis.call('HDEL', KEYS[3], '#number')
end
if redis.call('HGET', KEYS[6], ARGV[5]) == ARGV[1] then
    redis.call('HDEL', KEYS[6], ARGV[5])
end
local content = ARGV[4]
if content == '' then
    return redis.call('HEXISTS', KEYS[5], ARGV[1]) == 1 and 2 or 1
end
if redis.call('HINCRBY', KEYS[5], content, -1) > 0 then
    return 2
end
redis.call('HDEL', KEYS[5], content)
return redis.call('HEXISTS', KEYS[1], content) == 1 and 2 or 1
