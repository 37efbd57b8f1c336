-- prelude/events: the events of a request, in a stream of its own, for clients that follow it.
-- uses: rules, tickets
--
-- Each event has k its kind, a the attempt, q the worker's own number, b the bytes of all events so
-- far, d its data, n tokens, and c lines of chunks if it has some.  Events are numbered from 1; where numbers are missing, events were dropped.

local event = {}

-- The newest event of a request, as {number, attempt, said, bytes}.  first: the number before the
-- first event where there is none.
function event.newest(key, first)
    local found = redis.call('XREVRANGE', key, '+', '-', 'COUNT', 1)[1]
    if not found then
        return { number = first, attempt = 0, said = 0, bytes = 0 }
    end
    local fields = found[2]
    return { number = tonumber(string.match(found[1], '^%d+')), attempt = tonumber(fields[4]),
        said = tonumber(fields[6]), bytes = tonumber(fields[8]) }
end

-- chunks: nil or '' for none.  Replicas of older versions read the fields by their places.
function event.add(key, last, kind, data, tokens, chunks)
    chunks = chunks or ''
    last.number, last.bytes = last.number + 1, last.bytes + #data + #chunks
    local fields = { 'k', kind, 'a', last.attempt, 'q', last.said, 'b', string.format('%.0f', last.bytes),
        'd', data, 'n', tokens }
    if chunks ~= '' then
        fields[13], fields[14] = 'c', chunks
    end
    redis.call('XADD', key, 'MAXLEN', '~', Rules.max_events, string.format('%.0f-0', last.number),
        unpack(fields))
end

-- Drop the oldest events if there are more bytes than this.
function event.cut(key, last, most_bytes)
    local BEFORE_CUT = 3 / 4 -- what is left of the bytes
    local first = redis.call('XRANGE', key, '-', '+', 'COUNT', 1)[1]
    if not first or last.bytes - tonumber(first[2][8]) <= most_bytes then
        return
    end
    local low, high = tonumber(string.match(first[1], '^%d+')), last.number
    while low < high do
        local middle = math.floor((low + high) / 2)
        local id = string.format('%.0f-0', middle)
        local found = redis.call('XRANGE', key, id, '+', 'COUNT', 1)[1]
        if last.bytes - tonumber(found[2][8]) <= most_bytes * BEFORE_CUT then
            high = middle
        else
            low = middle + 1
        end
    end
    redis.call('XTRIM', key, 'MINID', string.format('%.0f-0', low))
end

-- The key of a request's events, nil when the request has none.
local function key_of(ticket, request_id)
    if not ticket or not ticket.events then
        return nil
    end
    local key = string.sub(tickets, 1, -#'tickets' - 1) .. 'events:' .. request_id
    -- This key is not among KEYS.  While its slot moves to another node of a cluster, Redis refuses
    -- it, and an error here would leave the script half done.
    return type(redis.pcall('EXISTS', key)) == 'number' and key or nil
end

-- The next attempt of a stream has the number of the last one, and its events start at 1 again.
function event.begin_attempt_again(key, attempt)
    local last = event.newest(key, 0)
    if last.attempt == attempt and last.said > 0 then
        last.said = 0
        event.add(key, last, 'attempt', '', 0)
        redis.call('PEXPIRE', key, Rules.events_ms)
    end
end

-- An attempt was not counted.
function event.begin_again(request_id, attempt)
    local key = key_of(Tickets.ticket_of(request_id), request_id)
    if key then
        event.begin_attempt_again(key, attempt)
    end
end

-- Add that an attempt has failed, once.  first: see `newest`.
function event.add_failure(key, first, attempt, about)
    -- Above every number of a worker, so that late events of the failed attempt are dropped.
    local LAST_SAID = 2 ^ 31 - 1
    local last = event.newest(key, first)
    if last.attempt == attempt and last.said == LAST_SAID then
        return
    end
    if last.attempt ~= attempt then
        last.attempt, last.said = attempt, 0
        event.add(key, last, 'attempt', '', 0)
    end
    last.said = LAST_SAID
    event.add(key, last, 'failed', cjson.encode(about), 0)
    redis.call('PEXPIRE', key, Rules.events_ms)
end

-- An attempt has failed and another one follows.  next_at: when its pause ends, or false.
function event.tell_failure(request_id, attempt, failure, pause_ms, next_at)
    local ticket = Tickets.ticket_of(request_id)
    local key = key_of(ticket, request_id)
    if not key then
        return
    end
    -- Events of earlier attempts may have expired; the clock gives a number above all of theirs.
    local now = now_ms()
    local may_be_forgotten = now - ticket.put_at > Rules.events_ms
    event.add_failure(key, may_be_forgotten and now or 0, attempt, {
        type = failure.type, code = failure.code, message = failure.sentence,
        pause_s = pause_ms / 1000, next_at_ms = next_at or nil,
    })
end

return event
