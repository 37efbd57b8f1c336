-- listed: some jobs that an API lists, such as videos, in the order of their creation.
--
-- argv     4  owner
--          5  the list, such as "video"
--          6  "1" for the newest first
--          7  after which time, ms since 1970, "" for the beginning
--          8  and after which request id of that time, as it is stored
--          9  most to give
-- returns  {time, request id, as it is stored...}
local prefix = ARGV[4] .. SEP .. ARGV[5]
local first, last = '[' .. prefix .. SEP, '(' .. prefix .. ' '
local after = ARGV[7] ~= '' and '(' .. table.concat({ prefix, padded(ARGV[7]), ARGV[8] }, SEP)
local members
if ARGV[6] == '1' then
    members = redis.call('ZREVRANGEBYLEX', listed, after or last, first, 'LIMIT', 0, ARGV[9])
else
    members = redis.call('ZRANGEBYLEX', listed, after or first, last, 'LIMIT', 0, ARGV[9])
end
local reply = {}
for _, member in ipairs(members) do
    local at, name = string.match(string.sub(member, #prefix + 2), '^(%d+)' .. SEP .. '(.*)$')
    reply[#reply + 1] = unpadded(at)
    reply[#reply + 1] = name
end
return reply
