-- prelude/outbox: the ends of requests that webhooks report.
-- uses: request_ids, rules
--
-- The call that ends a request adds the end to the stream `outbox`, so no end is reported that has not
-- happened, and none is missed.  The queue service makes deliveries of it (webhooks/fan_out.lua).  Each
-- has r the request id, s the state, c the code and t the type of a failure, p and e when it was put and
-- ended, m what tells two ends of one request id apart, w the webhook of the job itself (JSON).
--
-- Rules.webhooks has the states that some endpoint of the service reports.  A webhook of the job itself is
-- {url =, states = {state = true}}.  Without either this costs nothing.
local is_noted = false

-- about: code, kind, put_at, ended_at, mark and webhook.
local function note(request_id, state, about)
    local own_webhook = about.webhook and about.webhook.states[state] and about.webhook
    if not own_webhook and not Rules.webhooks[state] then
        return
    end
    redis.call('XADD', outbox, '*', 'r', request_id, 's', state, 'c', about.code or '', 't', about.kind or '',
        'p', about.put_at, 'e', about.ended_at, 'm', about.mark,
        'w', own_webhook and cjson.encode(own_webhook) or '')
    is_noted = true
end

-- The end of a request without a ticket.  index: that of its entry, or of its result.
local function note_plain(request_id, state, index, code, kind)
    if Rules.webhooks[state] then
        note(request_id, state, { code = code, kind = kind, put_at = 0, ended_at = now_ms(), mark = 'i' .. index })
    end
end

local function has_ticket(tags)
    return string.find(tags, '"_ticket_":', 1, true) ~= nil
end

-- A worker that speaks EAS has put a result.  Jobs with a ticket end otherwise.
local function note_result(request_id, tags, index)
    if next(Rules.webhooks) and redis.call('HEXISTS', tickets, request_id) == 0 then
        local said = cjson.decode(tags)
        note_plain(request_id, said.errorCode and 'failed' or 'succeeded', index, said.errorCode, said.errorType)
    end
end

-- An entry is about to be removed before its request has a result.
local function note_deleted(q, fields, index)
    if q == input and fields and next(Rules.webhooks) and not has_ticket(fields[TAGS])
        and not RequestIds.first_of(sink, fields[REQUEST_ID])
    then
        note_plain(fields[REQUEST_ID], 'canceled', index, 'Deleted')
    end
end

local function flush()
    if is_noted then
        is_noted = false
        ring('webhooks')
    end
end

return {
    note = note, note_plain = note_plain, note_result = note_result, note_deleted = note_deleted,
    flush = flush,
}
