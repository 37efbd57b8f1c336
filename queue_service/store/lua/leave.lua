-- leave: workers are to leave: they get nothing more, finish what they have, and end.
-- uses: stops
-- writes
--
-- The replica that has a worker's connection closes its window and passes this on.
--
-- argv     4  group
--          5  then the users
-- returns  for each: "asked", "known" when it was asked before, "absent" without such a subscriber
write_although_full()
local gid, outcomes = ARGV[4], {}
for position = 5, #ARGV do
    local uid = ARGV[position]
    if redis.call('HEXISTS', own.subscribers, gid .. SEP .. uid .. SEP .. 'held') == 0 then
        outcomes[position - 4] = 'absent'
    else
        outcomes[position - 4] = Stops.set_leaving(gid, uid) and 'asked' or 'known'
    end
end
return outcomes
