-- cancel: end requests that wait, and have workers stop those that they work on.
--
-- argv     4  then the request ids
-- returns  for each "canceled", "stopping" (its worker is told and has the last word), "ended"
--          (it had ended before) or "unknown"
write_although_full()

local function cancel(request_id, now)
    local ticket = ticket_of(request_id)
    if ticket and ticket.state then
        return 'ended'
    end
    local index = first_of(input, request_id)
    if first_of(sink, request_id) then
        return 'ended'
    end
    if ticket and ticket.delayed then
        fair_line().remove_delayed(ticket.delayed)
    elseif not index then
        return 'unknown'
    else
        local workers = workers_that_hold(index)
        for _, worker in ipairs(workers) do
            set_stop(worker.gid, worker.uid, index, worker.attempt, 'cancel')
        end
        if workers[1] then
            if ticket then
                ticket.stopping_at = now
                write_ticket(request_id, ticket)
            end
            return 'stopping'
        end
        remove(input, index)
    end
    end_ticket(request_id, 'canceled', 'Canceled', now)
    return 'canceled'
end

local results, now = {}, now_ms()
for position = 4, #ARGV do
    results[#results + 1] = cancel(ARGV[position], now)
end
settle()
return results
