-- add_file: add a file, whose content is complete, to the index.
--
-- keys     1  the files    2  their times    3  bytes    4  those of this owner    5  shared contents
--          6  files of this owner by their SHA-256    7  what unfinished uploads have reserved
--                                                          (see file_index.py)
-- argv     1  id    2  owner    3  what is known of it    4  when it expires, ms    5  size in bytes
--          6  the most bytes of all files, "0" for no limit    7  whose content it shares, or ""
--          8  SHA-256
-- returns  "ok", "full" when all files have too many bytes, "share" when this owner's have, "gone" when no
--          file has the content to share any more
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 1 then
    return 'ok'
end
local size, limit, own_field = tonumber(ARGV[5]), tonumber(ARGV[6]), '=' .. ARGV[2]
if limit > 0 then
    local function bytes(field)
        return tonumber(redis.call('HGET', KEYS[3], field) or '0')
    end
    -- What an upload has reserved is for its own file.
    local for_this = tonumber(string.match(redis.call('HGET', KEYS[7], ARGV[1]) or '0', '^%d+'))
    local total = bytes('=') + bytes('+') - for_this
    local own = bytes(own_field) + bytes('+' .. ARGV[2]) - for_this
    if total + size > limit then
        return 'full'
    end
    -- As in a queue: one owner leaves a fifth of what the others have not used.
    if own + size > (limit - (total - own)) * 0.8 then
        return 'share'
    end
end
if ARGV[7] ~= '' then
    local is_there = redis.call('HEXISTS', KEYS[1], ARGV[7]) + redis.call('HEXISTS', KEYS[5], ARGV[7])
    if is_there == 0 then
        return 'gone'
    end
    redis.call('HINCRBY', KEYS[5], ARGV[7], 1)
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
if string.sub(ARGV[2], 1, 6) ~= 'entry:' then
    -- Only what clients upload is looked for.
    redis.call('HSET', KEYS[6], ARGV[8], ARGV[1])
end
redis.call('ZADD', KEYS[2], ARGV[4], ARGV[1])
redis.call('HINCRBY', KEYS[3], '=', ARGV[5])
redis.call('HINCRBY', KEYS[3], own_field, ARGV[5])
redis.call('ZADD', KEYS[4], redis.call('HINCRBY', KEYS[3], '#number', 1), ARGV[1])
return 'ok'
