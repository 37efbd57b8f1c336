-- due: start, expire and forget requests whose time has come, and end pauses that are over.
-- uses: answers, entries, groups, lines, pauses, records, request_ids, stops, tickets, usage
-- writes
--
-- begin    a delayed entry is appended to the queue
-- start    a request that no worker has begun expires
-- finish   a request that has not ended expires; a worker that has it stops
-- keep     an unread result is removed, and what a job without a result has added
-- forget   a ticket is removed
--
-- returns  {how many things were done, ms until the next is due or -1}
write_although_full()
local LIMIT = 100
local now = now_ms()
local begun = false

local function end_late(request_id, ticket)
    local index, tags = RequestIds.first_of(input, request_id), nil
    if ticket.delayed then
        local fields = Lines.remove_delayed(ticket.delayed)
        Usage.end_delayed(fields, 'expired')
        tags = fields and fields[TAGS]
    elseif index then
        local fields = read(input, index)
        tags = fields and fields[TAGS]
    end
    if tags then
        Answers.expire_request(request_id, index, tags, now, Answers.sink_has_room(request_id))
    end
end

local kinds = {}

function kinds.begin(request_id, ticket)
    local fields = ticket.delayed and Lines.remove_delayed(ticket.delayed)
    if fields then
        Entries.append(input, ticket.lane, fields)
        Tickets.note_due(request_id, ticket)
        begun = true
    end
    ticket.delayed = nil
    Tickets.write_ticket(request_id, ticket)
end

function kinds.start(request_id, ticket)
    if not ticket.started_at then
        end_late(request_id, ticket)
    end
end

function kinds.finish(request_id, ticket)
    local index = RequestIds.first_of(input, request_id)
    local workers = index and Groups.workers_that_hold(index) or {}
    for _, worker in ipairs(workers) do
        Stops.set_stop(worker.gid, worker.uid, index, worker.attempt, 'late')
    end
    if not workers[1] then
        end_late(request_id, ticket)
    end
end

local due = redis.call('ZRANGEBYSCORE', times, '-inf', now, 'LIMIT', 0, LIMIT)
for _, member in ipairs(due) do
    local kind, request_id = string.match(member, '^(%a+)\31(.*)$')
    redis.call('ZREM', times, member)
    local ticket = Tickets.ticket_of(request_id)
    if kind == 'keep' then
        while RequestIds.first_of(sink, request_id) and Entries.remove(sink, RequestIds.first_of(sink, request_id)) do
            Tickets.note_removed(request_id)
        end
        if ticket and ticket.artifacts then
            Tickets.note_removed(request_id)
        end
    elseif kind == 'forget' then
        Tickets.forget_ticket(request_id)
    elseif ticket and not ticket.state then
        kinds[kind](request_id, ticket)
    end
end
-- After a long outage many pauses are over: then the lowest index goes first, whenever its pause
-- ended.
local paused = redis.call('ZRANGEBYSCORE', input.pauses, '-inf', now, 'LIMIT', 0, LIMIT)
for _, member in ipairs(paused) do
    Pauses.finish(input, member)
    local gid, digits = string.match(member, '^([^\31]*)\31(%d+)$')
    local record = Records.record_of(input, gid, unpadded(digits))
    if record and record.state ~= 'h' then
        redis.call('ZADD', input.released, 0, member)
        begun = true
    end
end
if begun then
    ring('input')
end
-- What this call has put off may be due next.
flush()
return { #due + #paused, Pauses.ms_until_due(now) }
