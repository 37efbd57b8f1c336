-- mark_read: the owners of results have read them.  These are dropped first when the sink needs room.
-- uses: request_ids, tickets
-- writes
--
-- Only results that are kept for a time stay after that, so others are not marked.
--
-- argv     4  then for each result: request id, its index in the sink
-- returns  how many are marked now and were not before
write_although_full()
local now, count = now_ms(), 0
for position = 4, #ARGV, 2 do
    local request_id, index = ARGV[position], ARGV[position + 1]
    local ticket = Tickets.ticket_of(request_id)
    if ticket and ticket.state and ticket.keep_ms > 0 and ticket.read_of ~= index
        and RequestIds.first_of(sink, request_id) == index
    then
        Tickets.forget_read(request_id, ticket)
        Tickets.note_read(request_id, ticket, index, now)
        count = count + 1
    end
end
if count > 0 and redis.call('HDEL', input.meta, 'blocked') == 1 then
    -- Deliveries wait for room in the sink, and now there is some.
    ring('input')
end
return count
