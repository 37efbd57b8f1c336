-- sink_state: whether unread results stop deliveries, and when the next of them goes.
-- uses: contents, lists, owners, quotas, reads
--
-- argv     4  owner, "" for the service itself
-- returns  {"1" while unread results fill the sink, "1" while those of the owner fill its share of it,
--          unread results of the owner, of all where it is "", ms until the next of them expires or -1,
--          since when the sink is full, ms since 1970, or 0}
local owner, now = ARGV[4], now_ms()
-- How many of the oldest results, and of the times that come next, are looked at.
local OLDEST, NEXT = 10, 50

local results = owner == '' and length(sink) or Owners.length_for(sink, owner)
local is_share_used = owner ~= '' and results - Reads.count(owner) > 0
    and Quotas.is_scarce(Contents.sink_room()) and not Quotas.may_have_result(results - Reads.count(owner))

local soonest
local function note(at)
    if at and at > now and (not soonest or at < soonest) then
        soonest = at
    end
end

-- Results expire about in the order in which they came.
for lane = 0, 1 do
    for _, item in ipairs(Lists.from(sink, owner, lane, '', '0', OLDEST)) do
        local text = redis.call('HGET', tickets, item[2][REQUEST_ID])
        local ticket = text and cjson.decode(text)
        if ticket and ticket.ended_at and tonumber(ticket.keep_ms or 0) > 0 and not ticket.read_of then
            note(ticket.ended_at + ticket.keep_ms)
        end
    end
end
-- But those with a shorter time go before.
local due = redis.call('ZRANGEBYSCORE', times, string.format('%.0f', now), '+inf', 'WITHSCORES', 'LIMIT', 0, NEXT)
for position = 1, #due, 2 do
    local kind, request_id = string.match(due[position], '^(%a+)\31(.*)$')
    if kind == 'keep' and (owner == '' or Owners.owner_of(request_id) == owner) then
        note(tonumber(due[position + 1]))
    end
end

return { Reads.fill_the_sink() and '1' or '0', is_share_used and '1' or '0',
    math.max(0, results - Reads.count(owner)), soonest and string.format('%.0f', soonest - now) or '-1',
    string.match(sink_full or '0', '^%d+') }
