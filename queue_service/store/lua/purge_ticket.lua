-- purge_ticket: remove everything that is stored of a request that has ended.
-- uses: entries, request_ids, tickets
-- writes
--
-- keys     62  the events of the request
--          63  its log
-- argv     4   request id
--          5   "1" when no client waits for it: if it has not ended, nothing is kept at its end
-- returns  "forgotten", "open" when it has not ended, or "unknown"
write_although_full()
local request_id = ARGV[4]
local ticket = Tickets.ticket_of(request_id)
local index = RequestIds.first_of(sink, request_id)
if RequestIds.first_of(input, request_id) and not (ticket and ticket.state) or ticket and ticket.delayed then
    if ticket and ARGV[5] == '1' then
        -- Its worker may have completed it while the stop was on its way.
        ticket.keep_ms, ticket.told_ms = 1, 0
        Tickets.write_ticket(request_id, ticket)
    end
    return 'open'
end
if not ticket and not index then
    return 'unknown'
end
while RequestIds.first_of(sink, request_id) and Entries.remove(sink, RequestIds.first_of(sink, request_id)) do
    index = nil
end
-- The end of its last result changes the ticket, which is to go after that.
flush()
Tickets.forget_ticket(request_id)
redis.call('UNLINK', KEYS[OWN_KEYS], KEYS[OWN_KEYS + 1])
for _, kind in ipairs({ 'begin', 'start', 'finish', 'keep', 'forget' }) do
    Tickets.clear_time(kind, request_id)
end
return 'forgotten'
