-- prelude/events: what followers of a request are told, one entry of a stream for each event.
--
-- Each event has k its kind, a the attempt, q the worker's own number, b the bytes of all events so
-- far, d its data, n tokens.  Events are numbered from 1; where numbers are missing, events were dropped.

-- Made at its first use, as most calls have none.
local function event_stream()
    if made_once.events then
        return made_once.events
    end
    local event = {}
    made_once.events = event

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

    function event.add(key, last, kind, data, tokens)
        last.number, last.bytes = last.number + 1, last.bytes + #data
        redis.call('XADD', key, 'MAXLEN', '~', rules().max_events, string.format('%.0f-0', last.number),
            'k', kind, 'a', last.attempt, 'q', last.said, 'b', string.format('%.0f', last.bytes),
            'd', data, 'n', tokens)
    end

    -- The events of a request that somebody may follow, nil when nobody may.
    local function key_of(ticket, request_id)
        if not ticket or not ticket.events then
            return nil
        end
        local key = string.sub(tickets, 1, -#'tickets' - 1) .. 'events:' .. request_id
        -- This key is not among KEYS.  While a slot moves to another node of a cluster Redis refuses it,
        -- and an error here would leave the verb half done.
        return type(redis.pcall('EXISTS', key)) == 'number' and key or nil
    end

    -- An attempt does not count: the next one has its number, and numbers its events from 1 too.
    function event.begin_again(request_id, attempt)
        local key = key_of(ticket_of(request_id), request_id)
        local last = key and event.newest(key, 0)
        if last and last.attempt == attempt and last.said > 0 then
            last.said = 0
            event.add(key, last, 'attempt', '', 0)
            redis.call('PEXPIRE', key, rules().events_ms)
        end
    end

    -- An attempt has failed and another one follows.  next_at: when its pause ends, or false.
    function event.tell_failure(request_id, attempt, failure, pause_ms, next_at)
        -- Above all numbers of workers: what a worker says late of an attempt that has failed is dropped.
        local LAST_SAID = 2 ^ 31 - 1
        local ticket = ticket_of(request_id)
        local key = key_of(ticket, request_id)
        if not key then
            return
        end
        -- Events of earlier attempts may have been forgotten; the clock gives a number above all theirs.
        local now = now_ms()
        local may_be_forgotten = now - ticket.put_at > rules().events_ms
        local last = event.newest(key, may_be_forgotten and now or 0)
        if last.attempt == attempt and last.said == LAST_SAID then
            return
        end
        if last.attempt ~= attempt then
            last.attempt, last.said = attempt, 0
            event.add(key, last, 'attempt', '', 0)
        end
        last.said = LAST_SAID
        event.add(key, last, 'failed', cjson.encode({
            type = failure.type, code = failure.code, message = failure.sentence,
            pause_s = pause_ms / 1000, next_at_ms = next_at or nil,
        }), 0)
        redis.call('PEXPIRE', key, rules().events_ms)
    end
    return event
end
