-- leave: workers are to leave: they get nothing more, finish what they have, and end.
-- uses: stops
-- writes
--
-- The replica that has a worker's connection closes its window and passes this on.
--
-- argv     4  group
--          5  then the users
-- returns  for each: 1, 0 when it was to leave before, -1 when there is no such subscriber
write_although_full()
local gid, outcomes = ARGV[4], {}
for position = 5, #ARGV do
    local uid = ARGV[position]
    if redis.call('HEXISTS', own.subscribers, gid .. SEP .. uid .. SEP .. 'held') == 0 then
        outcomes[position - 4] = -1
    else
        outcomes[position - 4] = Stops.set_leaving(gid, uid) and 1 or 0
    end
end
return outcomes
