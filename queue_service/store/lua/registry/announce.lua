-- announce: a queue-service process says that it lives; those that no longer do are dropped.
--
-- keys     1  the replicas
-- argv     1  id    2  about, JSON; "" when it leaves    3  how long this holds, in ms
-- returns  id, about, ms since it was last said... of all that live
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local kept_ms = tonumber(ARGV[3])
if ARGV[1] ~= '' then
    if ARGV[2] == '' then
        redis.call('HDEL', KEYS[1], ARGV[1])
    else
        redis.call('HSET', KEYS[1], ARGV[1],
            string.format('%.0f %.0f ', now, now + kept_ms) .. ARGV[2])
        redis.call('PEXPIRE', KEYS[1], kept_ms)
    end
end
local reply = {}
local found = redis.call('HGETALL', KEYS[1])
for position = 1, #found, 2 do
    local said, till, about = string.match(found[position + 1], '^(%d+) (%d+) (.*)$')
    if till and tonumber(till) > now then
        reply[#reply + 1] = found[position]
        reply[#reply + 1] = about
        reply[#reply + 1] = string.format('%.0f', now - said)
    elseif ARGV[1] ~= '' then
        redis.call('HDEL', KEYS[1], found[position])
    end
end
return reply
