-- cancel: end requests that wait, and ask workers to stop those that run.
-- uses: entries, groups, lines, request_ids, stops, tickets, usage
-- writes
--
-- argv     4  then the request ids
-- returns  for each "canceled", "stopping" (its worker decides how it ends), "ended" (before this
--          call) or "unknown"
write_although_full()

local function cancel(request_id, now)
    local ticket = Tickets.ticket_of(request_id)
    if ticket and ticket.state then
        return 'ended'
    end
    local index = RequestIds.first_of(input, request_id)
    if RequestIds.first_of(sink, request_id) then
        return 'ended'
    end
    if ticket and ticket.delayed then
        Usage.end_delayed(Lines.remove_delayed(ticket.delayed), 'canceled')
    elseif not index then
        return 'unknown'
    else
        local workers = Groups.workers_that_hold(index)
        for _, worker in ipairs(workers) do
            Stops.set_stop(worker.gid, worker.uid, index, worker.attempt, 'cancel')
        end
        if workers[1] then
            if ticket then
                ticket.stopping_at = now
                Tickets.write_ticket(request_id, ticket)
            end
            return 'stopping'
        end
        Entries.remove(input, index)
    end
    Tickets.end_ticket(request_id, 'canceled', 'Canceled', now)
    return 'canceled'
end

local results, now = {}, now_ms()
for position = 4, #ARGV do
    results[#results + 1] = cancel(ARGV[position], now)
end
return results
