-- prelude/tickets: what is remembered of a request beside its entries.
-- uses: artifacts, outbox, owners, request_ids, rules
--
-- A ticket is a JSON object: put_at, keep_ms (how long its result is kept, 0 until it is read), told_ms
-- (how long the ticket is kept when there is no result any more), options (as they came), retry (its
-- own policy, as store/ticket.py writes it), about (for the API that put it), and later
-- delayed (where it waits in `delayed`, with its lane), started_at, worker, attempt, stopping_at,
-- progress (JSON, as the engine reported it last) and progress_of (the attempt that reported it), artifacts and
-- artifacts_of (see artifacts.lua),
-- and once, for ever: state, code, type, ended_at; gone_at when its result has gone.  Of a result that its
-- owner has read: read_at, and read_of, its index; room when it was dropped to make room (see reads.lua).
-- webhook: its own webhook (see outbox.lua).  quiet: no webhook reports its end, because a client or a
-- batch waits for it.  replays: how often it was opened again.  listed: the list of an API that has it.
--
-- The entry of a ticket has a tag that no client can set, so entries without a ticket cost nothing.

local read_tickets, changed_tickets = {}, {}
-- Requests of which an entry was removed in this call, and those whose followers are to look again.
local maybe_gone, to_tell = {}, {}

-- An entry of this request was removed.
local function note_removed(request_id)
    maybe_gone[request_id] = true
end

-- The followers of this request are to look again.
local function tell(request_id)
    to_tell[request_id] = true
end

-- nil: the tags were not read.
local function may_have_ticket(tags)
    return tags == nil or (tags ~= '{}' and string.find(tags, '"_ticket_":', 1, true) ~= nil)
end

local function ticket_of(request_id)
    local ticket = read_tickets[request_id]
    if ticket == nil then
        local text = redis.call('HGET', tickets, request_id)
        ticket = text and cjson.decode(text) or false
        read_tickets[request_id] = ticket
    end
    return ticket
end

-- The member of `listed` for a job: of its owner's list, in the order of time.
local function listed_member(request_id, ticket)
    local at = padded(string.format('%.0f', ticket.put_at))
    return table.concat({ Owners.owner_of(request_id), ticket.listed, at, request_id }, SEP)
end

local function write_ticket(request_id, ticket)
    if not read_tickets[request_id] then
        Owners.note_owned('t', request_id, Owners.plain_of(request_id), true)
        if ticket.listed then
            redis.call('ZADD', listed, 0, listed_member(request_id, ticket))
        end
    end
    read_tickets[request_id] = ticket
    changed_tickets[request_id] = true
    to_tell[request_id] = true
end

local function forget_ticket(request_id)
    local ticket = ticket_of(request_id)
    if ticket then
        Artifacts.drop(request_id, ticket)
        if ticket.listed then
            redis.call('ZREM', listed, listed_member(request_id, ticket))
        end
    end
    redis.call('HDEL', tickets, request_id)
    Owners.note_owned('t', request_id, Owners.plain_of(request_id), false)
    read_tickets[request_id], changed_tickets[request_id] = false, nil
end

local function set_time(kind, request_id, at)
    redis.call('ZADD', times, at, kind .. SEP .. request_id)
end

local function clear_time(kind, request_id)
    redis.call('ZREM', times, kind .. SEP .. request_id)
end

-- The members of `read_results` for a result that was read then: one in the order of all, and one in that
-- of its owner's.
local function read_members(request_id, at)
    local owner = Owners.owner_of(request_id)
    local rest = SEP .. padded(string.format('%.0f', at)) .. SEP .. request_id
    if owner == '' then
        return rest
    end
    return rest, owner .. rest
end

-- The owner of a result has read all of it.
local function note_read(request_id, ticket, index, now)
    for _, member in ipairs({ read_members(request_id, now) }) do
        redis.call('ZADD', read_results, 0, member)
    end
    ticket.read_at, ticket.read_of = now, index
    changed_tickets[request_id] = true
end

-- Its result has gone, or is another one.
local function forget_read(request_id, ticket)
    if ticket.read_of then
        redis.call('ZREM', read_results, read_members(request_id, ticket.read_at))
        ticket.read_of = nil
    end
end

-- A job with a deadline has entered the queue and waits for a worker.  `due` has it until it starts or
-- ends, so that the figures of autoscaling count such jobs without a look at each.  The score is the
-- time by which it must start.  If only the time by which it must finish is known, the score is that
-- time less FINISH_OFFSET: these are counted separately, because the run takes a part of that time.
local FINISH_OFFSET = 1e15 -- ms, above every time and small enough for exact differences

local function note_due(request_id, ticket)
    local start_by, finish_by = tonumber(ticket.start_by or 0), tonumber(ticket.finish_by or 0)
    if start_by > 0 and not (finish_by > 0 and finish_by < start_by) then
        redis.call('ZADD', due_jobs, string.format('%.0f', start_by), request_id)
    elseif finish_by > 0 then
        redis.call('ZADD', due_jobs, string.format('%.0f', finish_by - FINISH_OFFSET), request_id)
    end
end

local function clear_due(request_id, ticket)
    if tonumber(ticket.start_by or 0) > 0 or tonumber(ticket.finish_by or 0) > 0 then
        redis.call('ZREM', due_jobs, request_id)
    end
end

-- The end of a request is written once; a request without a ticket gets one for that.
-- kind: the type of the failure, where it is one.
local function end_ticket(request_id, state, code, now, kind)
    local LEAST_TOLD_MS = 3600 * 1000 -- for a request that was put without a ticket
    local ticket = ticket_of(request_id) or { put_at = now, keep_ms = 0, told_ms = LEAST_TOLD_MS }
    if ticket.state then
        return
    end
    ticket.state, ticket.code, ticket.type, ticket.ended_at = state, code, kind, now
    ticket.delayed, ticket.stopping_at = nil, nil
    Artifacts.keep_last(request_id, ticket)
    clear_due(request_id, ticket)
    for _, kind in ipairs({ 'begin', 'start', 'finish' }) do
        clear_time(kind, request_id)
    end
    if ticket.keep_ms > 0 then
        set_time('keep', request_id, now + ticket.keep_ms)
    end
    maybe_gone[request_id] = true
    if not ticket.quiet and (ticket.webhook or Rules.webhooks[state]) then
        Outbox.note(request_id, state, {
            code = code, kind = kind, put_at = ticket.put_at, ended_at = now, webhook = ticket.webhook,
            mark = string.format('%.0f.%d', ticket.put_at, ticket.replays or 0),
        })
    end
    write_ticket(request_id, ticket)
end

-- index: that of its entry.
local function fail_ticket(request_id, tags, code, kind, index)
    if role == 'input' and may_have_ticket(tags) then
        end_ticket(request_id, 'failed', code, now_ms(), kind)
    elseif role == 'input' and Rules.webhooks.failed then
        Outbox.note_plain(request_id, 'failed', index, code, kind)
    end
end

-- An operator has replayed its dead letter.
local function reopen_ticket(request_id, tags)
    local ticket = may_have_ticket(tags) and ticket_of(request_id)
    if ticket then
        ticket.state, ticket.code, ticket.type = nil, nil, nil
        ticket.ended_at, ticket.gone_at = nil, nil
        forget_read(request_id, ticket)
        ticket.read_at, ticket.room = nil, nil
        ticket.replays = (ticket.replays or 0) + 1
        clear_time('keep', request_id)
        clear_time('forget', request_id)
        write_ticket(request_id, ticket)
    end
end

local function begin_ticket(request_id, uid, attempt, now)
    local ticket = ticket_of(request_id)
    if ticket and not ticket.state then
        ticket.started_at, ticket.worker, ticket.attempt = now, uid, attempt
        clear_time('start', request_id)
        clear_due(request_id, ticket)
        write_ticket(request_id, ticket)
    end
    return ticket
end

-- The most attempts of an entry, 0 for any number, and whether a retry policy decides that: the
-- service's rule, or the request's own if that is less.  A job always has a policy, if only the
-- default one, so its attempts are never counted from 0 again.
local function most_attempts(q, record)
    local most, bounded = Rules.max_delivery, Rules.has_retry_policy
    local ticket = q == input and may_have_ticket(record.tags) and ticket_of(record.request_id)
    local wanted = ticket and ticket.retry and tonumber(string.match(ticket.retry, '^%d+')) or 0
    if wanted > 0 and (most == 0 or wanted < most) then
        most = wanted
    end
    return most, bounded or ticket and true
end

-- How long a request remains queryable after its result has gone.  The more such requests its owner
-- has, the shorter, down to 0: this bounds what one owner leaves behind.
local function told_ms(request_id, ticket)
    local owner, most, count = Owners.owner_of(request_id), 1000000, nil
    if owner == '' then
        -- Less those of other owners: `owned` has each of their tickets and entries twice, and `holders`
        -- counts their entries.
        local others = redis.call('ZCARD', owned) / 2
        for _, q in ipairs({ input, sink }) do
            others = others + tonumber(redis.call('ZSCORE', q.holders, '') or 0)
        end
        count = redis.call('HLEN', tickets) - others
    else
        most = 100000
        count = redis.call('ZLEXCOUNT', owned, '[' .. owner .. SEP .. 't' .. SEP,
            '(' .. owner .. SEP .. 't ')
    end
    local beyond = count / most - 1
    return math.floor(ticket.told_ms * math.min(1, math.max(0, 1 - beyond)))
end

-- Whether its artifacts are all that it has for its client, and are still to be kept.
local function has_only_artifacts(ticket)
    return ticket.artifacts and ticket.empty and ticket.keep_ms > 0
        and now_ms() < ticket.ended_at + ticket.keep_ms
end

-- What became of the requests whose entries this call has removed: an entry that came back under
-- another index is no end.
local function flush()
    for request_id in pairs(maybe_gone) do
        local ticket = ticket_of(request_id)
        if ticket and not ticket.state and not ticket.delayed and not RequestIds.first_of(input, request_id) then
            end_ticket(request_id, 'canceled', 'Deleted', now_ms())
        end
        if ticket and ticket.state and not ticket.gone_at and not RequestIds.first_of(sink, request_id)
            and not has_only_artifacts(ticket)
        then
            Artifacts.drop(request_id, ticket)
            ticket.gone_at = now_ms()
            forget_read(request_id, ticket)
            clear_time('keep', request_id)
            set_time('forget', request_id, ticket.gone_at + told_ms(request_id, ticket))
            write_ticket(request_id, ticket)
        end
    end
    maybe_gone = {}
    for request_id in pairs(changed_tickets) do
        redis.call('HSET', tickets, request_id, cjson.encode(read_tickets[request_id]))
    end
    changed_tickets = {}
    local names, open = {}, true
    for request_id in pairs(to_tell) do
        local ticket = read_tickets[request_id]
        names[#names + 1] = request_id
        open = open and ticket and not ticket.state
    end
    to_tell = {}
    if #names > 0 then
        ring_events(names, open)
    end
end

return {
    note_removed = note_removed, tell = tell, may_have_ticket = may_have_ticket,
    ticket_of = ticket_of, write_ticket = write_ticket, forget_ticket = forget_ticket,
    note_read = note_read, forget_read = forget_read, read_members = read_members,
    set_time = set_time, clear_time = clear_time, note_due = note_due, end_ticket = end_ticket,
    fail_ticket = fail_ticket, reopen_ticket = reopen_ticket, begin_ticket = begin_ticket,
    FINISH_OFFSET = FINISH_OFFSET, most_attempts = most_attempts, flush = flush,
}
