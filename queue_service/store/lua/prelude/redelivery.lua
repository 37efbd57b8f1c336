-- prelude/redelivery: a delivery ends without a commit, and its entry is delivered again.
-- uses: answers, dead_letter_policy, entries, events, groups, lines, logs, pauses, records, rules,
--       stops, tickets

-- A delivery that its worker was asked to stop has ended without a result.
local function stop_delivery(index, record, why)
    local now = now_ms()
    if why == 'late' then
        Answers.expire_request(record.request_id, index, record.tags, now, true)
        return
    end
    Entries.remove(input, index, record.lane, record.request_id, record.tags)
    Tickets.end_ticket(record.request_id, 'canceled', 'Canceled', now)
end

-- A delivery has ended without a report, so this is what followers see as the cause.
local function note_loss(q, gid, index, record, is_followed)
    DeadLetterPolicy.note_loss(gid, index, record.uid)
    if is_followed and q == own and gid == Rules.workers_gid then
        Logs.note_lost(record.request_id, record.attempt, Records.error_of(own, gid, index))
    end
end

-- A delivery has ended without a commit: its entry is delivered again, lowest index first, unless its
-- attempts are used up or it was to be stopped.
-- failure: what its user reported, {type = that of the failure, pause_ms = before the next attempt,
-- is_last = true for no further attempt}; nil if there was no report.  uncharged: this does not count as
-- an attempt.
local function put_back(q, gid, index, record, state, failure, uncharged)
    local why = q == input and Stops.stop_of(gid, record.uid, index)
    if why then
        stop_delivery(index, record, why)
        return
    end
    if lines_from and q == input and failure and failure.type == 'timeout' then
        Lines.note_broken_off(gid, index)
    end
    local is_followed = q == input and Tickets.may_have_ticket(record.tags)
    if is_followed then
        Tickets.tell(record.request_id)
    end
    Groups.end_hold(q, gid, record.uid, index)
    record.state = state
    Records.write_record(q, gid, index, record)
    local most = Tickets.most_attempts(q, record)
    if not (failure and failure.is_last) and (most == 0 or record.attempt < most) then
        local pause_ms = failure and failure.pause_ms or 0
        local next_at = pause_ms > 0 and now_ms() + pause_ms
        if uncharged and q == input then
            Logs.begin_again(record.request_id, record.attempt + 1)
        end
        if is_followed and uncharged then
            Events.begin_again(record.request_id, record.attempt + 1)
        elseif is_followed and q == own and state ~= 'o' then
            if state == 'r' then
                note_loss(q, gid, index, record, is_followed)
            end
            local failed = Records.error_of(own, gid, index)
            Events.tell_failure(record.request_id, record.attempt, failed, pause_ms, next_at)
        end
        if lines_from and q == input then
            Lines.come_back(gid, index)
        end
        if next_at then
            Pauses.begin(q, gid, index, next_at)
        else
            redis.call('ZADD', q.released, 0, gid .. SEP .. padded(index))
        end
        return
    end
    if not failure then
        note_loss(q, gid, index, record, is_followed)
    end
    DeadLetterPolicy.end_by_policy(gid, index, record, 'MaxDelivery')
end

return { put_back = put_back }
