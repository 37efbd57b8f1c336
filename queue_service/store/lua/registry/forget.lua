-- forget: remove what is left of a deleted service, unless it was created again.
--
-- keys     1  the services
-- argv     1  name    2  incarnation
-- returns  1 when it was removed
local known = redis.call('HGET', KEYS[1], ARGV[1])
local incarnation, state
if known then
    incarnation, state = string.match(known, '^%d+ (%d+) (%a+) ')
end
if state == 'deleted' and incarnation == ARGV[2] then
    return redis.call('HDEL', KEYS[1], ARGV[1])
end
return 0
