-- registered: the services, when they have changed.
--
-- keys     1  the services
-- argv     1  the revision that the caller knows
-- returns  {revision}, and after it name, record... when the revision is another one
local revision = redis.call('HGET', KEYS[1], '#revision') or '0'
if revision == ARGV[1] then
    return { revision }
end
local found = redis.call('HGETALL', KEYS[1])
local reply = { revision }
for position = 1, #found, 2 do
    if found[position] ~= '#revision' then
        reply[#reply + 1] = found[position]
        reply[#reply + 1] = found[position + 1]
    end
end
return reply
