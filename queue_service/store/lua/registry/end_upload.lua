-- end_upload: forget an unfinished upload, and release what it has reserved.
--
-- keys     1  uploads of this owner    2  when each was last heard of    3  bytes    4  what each has reserved
--                                                          (see upload_index.py)
-- argv     1  id    2  owner    3  only if it was last heard of by this time, ms; "" for always
-- returns  1, or 0 when it was not noted, or has been heard of since
local member = ARGV[1] .. ' ' .. ARGV[2]
if ARGV[3] ~= '' then
    local heard_at = redis.call('ZSCORE', KEYS[2], member)
    if heard_at and tonumber(heard_at) > tonumber(ARGV[3]) then
        return 0
    end
end
-- An older version notes, and forgets, an upload without these two keys.
local is_this_owners = redis.call('ZREM', KEYS[2], member) == 1
local reserved = redis.call('HGET', KEYS[4], ARGV[1])
if reserved and is_this_owners then
    redis.call('HDEL', KEYS[4], ARGV[1])
    local size, arrived = string.match(reserved, '^(%d+) (%d+)$')
    local unarrived = tonumber(size) - tonumber(arrived)
    for field, less in pairs({ ['+'] = tonumber(size), ['+' .. ARGV[2]] = tonumber(size), ['-'] = unarrived }) do
        -- Redis takes no "-0".
        local change = less == 0 and '0' or string.format('%.0f', -less)
        if redis.call('HINCRBY', KEYS[3], field, change) == 0 then
            redis.call('HDEL', KEYS[3], field)
        end
    end
end
return redis.call('HDEL', KEYS[1], ARGV[1])
