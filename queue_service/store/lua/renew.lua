-- renew: put off the end of subscribers' leases.
--
-- argv     4  then for each subscriber: group, user, session, ms from now to its lease's end
-- returns  {position (from 0), "lost" or "taken" over} of those that are no longer
--          this connection's
write_although_full()
local now = now_ms()
local lost = {}
for position = 4, #ARGV, 4 do
    local subscriber = ARGV[position] .. SEP .. ARGV[position + 1]
    local session = redis.call('HGET', own.subscribers, subscriber .. SEP .. 'session')
    if session == ARGV[position + 2] then
        redis.call('ZADD', own.leases, now + tonumber(ARGV[position + 3]), subscriber)
    else
        lost[#lost + 1] = { (position - 4) / 4, session and session ~= '' and 'taken' or 'lost' }
    end
end
return lost
