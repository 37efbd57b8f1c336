-- due: do what is due for requests by now, and let those go out whose pause is over.
--
-- begin    a delayed entry takes its place in line
-- start    a request that no worker has begun is answered as expired
-- finish   so is one that has not ended; a worker that has it is told to stop
-- keep     a result was kept for long enough
-- forget   so was a ticket
--
-- returns  {how many things were done, ms until the next is due or -1}
write_although_full()
local LIMIT = 100
local now = now_ms()
local begun = false

local function end_late(request_id, ticket)
    local index, tags = first_of(input, request_id), nil
    if ticket.delayed then
        local fields = fair_line().remove_delayed(ticket.delayed)
        tags = fields and fields[TAGS]
    elseif index then
        local fields = read(input, index)
        tags = fields and fields[TAGS]
    end
    if tags then
        expire_request(request_id, index, tags, now, sink_has_room())
    end
end

local kinds = {}

function kinds.begin(request_id, ticket)
    local fields = ticket.delayed and fair_line().remove_delayed(ticket.delayed)
    if fields then
        append(input, ticket.lane, fields)
        begun = true
    end
    ticket.delayed = nil
    write_ticket(request_id, ticket)
end

function kinds.start(request_id, ticket)
    if not ticket.started_at then
        end_late(request_id, ticket)
    end
end

function kinds.finish(request_id, ticket)
    local index = first_of(input, request_id)
    local workers = index and workers_that_hold(index) or {}
    for _, worker in ipairs(workers) do
        set_stop(worker.gid, worker.uid, index, worker.attempt, 'late')
    end
    if not workers[1] then
        end_late(request_id, ticket)
    end
end

local due = redis.call('ZRANGEBYSCORE', times, '-inf', now, 'LIMIT', 0, LIMIT)
for _, member in ipairs(due) do
    local kind, request_id = string.match(member, '^(%a+)\31(.*)$')
    redis.call('ZREM', times, member)
    local ticket = ticket_of(request_id)
    if kind == 'keep' then
        while first_of(sink, request_id) and remove(sink, first_of(sink, request_id)) do
            maybe_gone[request_id] = true
        end
    elseif kind == 'forget' then
        forget_ticket(request_id)
    elseif ticket and not ticket.state then
        kinds[kind](request_id, ticket)
    end
end
-- Those of a long outage all at once, as many as one call may: the lowest index of them is served
-- first, whenever its pause was over.
local paused = redis.call('ZRANGEBYSCORE', input.pauses, '-inf', now, 'LIMIT', 0, LIMIT)
for _, member in ipairs(paused) do
    pausing().finish(input, member)
    local gid, digits = string.match(member, '^([^\31]*)\31(%d+)$')
    local record = record_of(input, gid, unpadded(digits))
    if record and record.state ~= 'h' then
        redis.call('ZADD', input.released, 0, member)
        begun = true
    end
end
settle()
if begun then
    ring('input')
end
return { #due + #paused, pausing().ms_until_due(now) }
