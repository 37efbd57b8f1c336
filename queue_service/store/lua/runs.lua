-- runs: since when workers run what they hold.
-- uses: records, tickets
--
-- argv     4  group
--          5  the most entries of each worker that are looked at
--          6  then the users
-- returns  for each: {for how many ms each entry has run, -1 where that is not known}
local gid, most, now, found = ARGV[4], tonumber(ARGV[5]), now_ms(), {}

local function began(index)
    local text = lines_from and redis.call('HGET', running, gid .. SEP .. index)
    if text then
        return tonumber(string.match(text, '^%d+'))
    end
    local record = Records.record_of(own, gid, index)
    local ticket = record and Tickets.may_have_ticket(record.tags)
        and Tickets.ticket_of(record.request_id)
    return ticket and ticket.started_at
end

for position = 6, #ARGV do
    local prefix, runs = gid .. SEP .. ARGV[position] .. SEP, {}
    local members = redis.call('ZRANGEBYLEX', own.holds, '[' .. prefix,
        '(' .. gid .. SEP .. ARGV[position] .. ' ', 'LIMIT', 0, most)
    for number, member in ipairs(members) do
        local at = began(unpadded(string.sub(member, #prefix + 1)))
        runs[number] = at and math.max(0, now - at) or -1
    end
    found[position - 5] = runs
end
return found
