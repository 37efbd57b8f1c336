-- list: request ids, some at a time.
-- uses: lists, owners, request_ids, tickets
--
-- argv     4  "input" or "sink" for the entries of a queue, "delayed" for those that wait for their time,
--          "ended" for tickets
--          5  where to go on: an index, a stream id, or what an earlier call gave; "0" at first
--          6  most to give; tickets come in portions of about this size
--          7  owner: "" for everything, else what is its own
-- returns  {where to go on, "" at the end, request id...}
local from, most, owner = ARGV[5], tonumber(ARGV[6]), ARGV[7]
local reply = { '' }

-- What an owner has in a place of `owned`, after what an earlier call gave.
local function list_owned(place, start)
    local prefix = owner .. SEP .. place
    local members = redis.call('ZRANGEBYLEX', owned, '(' .. prefix .. SEP .. start,
        '(' .. prefix .. ' ', 'LIMIT', 0, most)
    for position, member in ipairs(members) do
        members[position] = string.sub(member, #prefix + 2)
    end
    return members, #members == most and members[most] or ''
end

if owner ~= '' and ARGV[4] == 'ended' then
    -- With a prefix, because "0" means the beginning and may also be a request id.
    local found, go_on = list_owned('t', string.match(from, '^=(.*)$') or '')
    reply[1] = go_on ~= '' and '=' .. go_on or ''
    for _, plain in ipairs(found) do
        local name = owner .. Owners.OWNED .. plain
        local ticket = not RequestIds.first_of(sink, name) and Tickets.ticket_of(name)
        if ticket and ticket.state then
            reply[#reply + 1] = name
        end
    end
    return reply
end
if owner ~= '' and ARGV[4] == 'delayed' then
    local found, go_on = list_owned('d', from == '0' and '' or Owners.padded_id(from))
    for _, digits in ipairs(found) do
        local at, number = string.match(digits, '^(%d+)-(%d+)$')
        local id = (at == '' and '0' or unpadded(at)) .. '-' .. string.gsub(number, '^0+(%d)', '%1')
        local item = redis.call('XRANGE', delayed, id, id)[1]
        if item then
            reply[#reply + 1] = item[2][REQUEST_ID]
        end
        reply[1] = go_on ~= '' and id or ''
    end
    return reply
end
if ARGV[4] == 'ended' then
    local found = redis.call('HSCAN', tickets, from, 'COUNT', most)
    reply[1] = found[1] ~= '0' and found[1] or ''
    for position = 1, #found[2], 2 do
        local request_id = found[2][position]
        if not RequestIds.first_of(sink, request_id) and cjson.decode(found[2][position + 1]).state then
            reply[#reply + 1] = request_id
        end
    end
    return reply
end
if ARGV[4] == 'delayed' then
    local found = redis.call('XRANGE', delayed, from == '0' and '-' or '(' .. from, '+', 'COUNT', most)
    for _, item in ipairs(found) do
        reply[#reply + 1] = item[2][REQUEST_ID]
    end
    reply[1] = #found == most and found[#found][1] or ''
    return reply
end
local q = ARGV[4] == 'sink' and sink or input
local items = {}
for lane = 0, 1 do
    for _, item in ipairs(Lists.from(q, owner, lane, '(', from, most)) do
        items[#items + 1] = { tonumber(string.match(item[1], '^%d+')), item[2][REQUEST_ID] }
    end
end
table.sort(items, function(a, b) return a[1] < b[1] end)
for position = 1, math.min(#items, most) do
    reply[#reply + 1] = items[position][2]
end
if #items >= most then
    reply[1] = string.format('%.0f', items[most][1])
end
return reply
