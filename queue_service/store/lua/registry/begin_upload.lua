-- begin_upload: note an unfinished upload, and reserve all the bytes that it has announced.
--
-- keys     1  uploads of this owner    2  when each was last heard of    3  bytes    4  what each has reserved
--                                                          (see upload_index.py)
-- argv     1  id    2  owner    3  what is known of it    4  its size in bytes    5  now, ms
--          6  the most bytes of all files, "0" for no limit    7  the most unfinished uploads of one owner
-- returns  "ok", "full" when all files have too many bytes, "share" when this owner's have, "many" when it
--          has that number of uploads
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 1 then
    return 'ok'
end
if redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[7]) then
    return 'many'
end
local size, limit = tonumber(ARGV[4]), tonumber(ARGV[6])
if limit > 0 then
    local function bytes(field)
        return tonumber(redis.call('HGET', KEYS[3], field) or '0')
    end
    local total = bytes('=') + bytes('+')
    local own = bytes('=' .. ARGV[2]) + bytes('+' .. ARGV[2])
    if total + size > limit then
        return 'full'
    end
    -- As in add_file.lua.
    if own + size > (limit - (total - own)) * 0.8 then
        return 'share'
    end
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
-- An older version lets all notes of an owner expire together.
redis.call('PERSIST', KEYS[1])
redis.call('ZADD', KEYS[2], ARGV[5], ARGV[1] .. ' ' .. ARGV[2])
redis.call('HSET', KEYS[4], ARGV[1], ARGV[4] .. ' 0')
for _, field in ipairs({ '+', '+' .. ARGV[2], '-' }) do
    redis.call('HINCRBY', KEYS[3], field, ARGV[4])
end
return 'ok'
