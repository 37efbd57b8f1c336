-- stops: what workers are to stop.
--
-- argv     4  group
-- returns  {user, index, attempt} of each such delivery of this group
local found = {}
local all = redis.call('HGETALL', stops)
for position = 1, #all, 2 do
    local gid, uid, index = string.match(all[position], '^([^\31]*)\31(.*)\31(%d+)$')
    if gid == ARGV[4] then
        found[#found + 1] = { uid, unpadded(index), string.match(all[position + 1], '^%d+') }
    end
end
return found
