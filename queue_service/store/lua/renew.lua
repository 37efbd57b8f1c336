-- renew: put off the end of subscribers' leases.
-- writes
--
-- argv     4  then for each subscriber: group, user, session, ms from now to its lease's end,
--          what is new about it (JSON), "" for nothing
-- returns  {position (from 0), "lost" or "taken" over} of those that are no longer
--          this connection's
write_although_full()
local now = now_ms()
local lost = {}
for position = 4, #ARGV, 5 do
    local subscriber = ARGV[position] .. SEP .. ARGV[position + 1]
    local session = redis.call('HGET', own.subscribers, subscriber .. SEP .. 'session')
    if session == ARGV[position + 2] then
        redis.call('ZADD', own.leases, now + tonumber(ARGV[position + 3]), subscriber)
        if ARGV[position + 4] ~= '' then
            redis.call('HSET', own.subscribers, subscriber .. SEP .. 'about', ARGV[position + 4])
        end
    else
        lost[#lost + 1] = { (position - 4) / 5, session and session ~= '' and 'taken' or 'lost' }
    end
end
return lost
