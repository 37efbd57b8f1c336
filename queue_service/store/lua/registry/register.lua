-- register: write the description of a service, unless another process was faster.
--
-- keys     1  the services    2  the adopted names             (see registry.py)
-- argv     1  channel of the registry    2  name    3  state    4  description
--          5  revision that it must still have, "0" for none, "" for any
--          6  "1" to adopt what a service of the environment with this name has left
-- returns  {"ok", new revision, incarnation} or {"conflict", its revision now}
local known = redis.call('HGET', KEYS[1], ARGV[2])
local revision, incarnation, state = '0', nil, nil
if known then
    revision, incarnation, state = string.match(known, '^(%d+) (%d+) (%a+) ')
end
local is_readable = not known or state
if not is_readable or state == 'deleted' then
    -- A service that is created again shares nothing with the deleted one, not even its keys.  A
    -- record that cannot be read is replaced in the same way.
    revision, incarnation = '0', nil
end
if is_readable and ARGV[5] ~= '' and ARGV[5] ~= revision then
    return { 'conflict', revision }
end
local new = string.format('%.0f', redis.call('HINCRBY', KEYS[1], '#revision', 1))
-- Only the first service of a name adopts.  A later one must not: the keys of incarnation 0, and the
-- tokens bound to it, then belong to a service that was deleted.
if not incarnation and ARGV[6] == '1' and redis.call('HSETNX', KEYS[2], ARGV[2], new) == 1 then
    incarnation = '0'
end
incarnation = incarnation or new
redis.call('HSET', KEYS[1], ARGV[2],
    table.concat({ new, incarnation, ARGV[3], ARGV[4] }, ' '))
redis.call('PUBLISH', ARGV[1], 'services')
return { 'ok', new, incarnation }
