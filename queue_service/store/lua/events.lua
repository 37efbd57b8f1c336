-- events: read the events of requests.
--
-- keys     62..  for each read: the events of its request
-- argv     4  most events of one read
--          then for each read: the number after which to go on
-- returns  for each read {number, kind, attempt, data, tokens, chunks}...
local results = {}
for position = 5, #ARGV do
    local found = redis.call('XRANGE', KEYS[OWN_KEYS + position - 5], '(' .. ARGV[position] .. '-0', '+',
        'COUNT', ARGV[4])
    local result = {}
    for _, item in ipairs(found) do
        local fields = item[2]
        result[#result + 1] = { string.match(item[1], '^%d+'), fields[2], fields[4], fields[10],
            fields[12], fields[14] or '' }
    end
    results[#results + 1] = result
end
return results
