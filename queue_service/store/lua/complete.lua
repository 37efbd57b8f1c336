-- complete: remove an input entry and store its result in the sink, in one step.
-- uses: answers, contents, dead_letter_policy, dead_letters, entries, lines, outbox, records,
--       request_ids, rules, stops, tickets, usage, writes
-- writes
--
-- argv     4  group
--          then for each completion: user, index, attempt, "1" when there is a result,
--          its data, its tags (JSON, merged into the entry's), and of a failure its code or "",
--          its message, its type or "", and the tokens of its prompt and output or ""
-- returns  for each completion 1, or 0 when the delivery was no longer this user's
write_although_full()
local gid, STEP = ARGV[4], 10
local now = now_ms()

-- A final failure leaves a dead letter if the policy is Park, and always if the entry has killed
-- several engines.
local function note_failure(uid, index, record, code, sentence, kind)
    if code == 'EngineDied' then
        Records.note_death(own, gid, index, uid)
        if lines_from then
            Lines.note_kill(gid, index, uid)
        end
        Writes.later('HDEL', own.deliveries, Records.deaths_field(gid, index))
    elseif kind == 'timeout' and lines_from then
        Lines.note_broken_off(gid, index)
    end
    local poison = code == 'PoisonJob' or code == 'EngineDied' and DeadLetterPolicy.is_poison(gid, index)
    if not poison and Rules.dead_message_policy ~= 'Park' then
        return
    end
    local fields, lane = read(own, index, record.lane)
    if not fields then
        return
    end
    DeadLetters.park(gid, index, fields, lane, {
        reason = poison and 'PoisonJob' or 'Failed', code = code, sentence = sentence,
        attempts = record.attempt, uid = uid, type = kind ~= '' and kind or nil,
    })
end

-- Whether the tags of a result say that it is an error.
local function says_error(tags)
    return string.find(tags, '"errorCode":', 1, true) and cjson.decode(tags).errorCode ~= nil
end

-- Results have the request ids of their inputs.
RequestIds.read_request_ids(peer, Entries.read_ahead(gid, 6, STEP))

local results = {}
for position = 5, #ARGV, STEP do
    local uid, index, attempt, has_result = unpack(ARGV, position, position + 3)
    local record = Records.record_of(own, gid, index)
    if record and record.state == 'h' and record.uid == uid
        and record.attempt == tonumber(attempt)
    then
        local code = ARGV[position + 6]
        if code ~= '' then
            note_failure(uid, index, record, code, ARGV[position + 7], ARGV[position + 8])
        end
        Usage.end_answered(gid, index, says_error(ARGV[position + 5]) and 'failed' or 'succeeded',
            ARGV[position + 4], ARGV[position + 5], ARGV[position + 9])
        Entries.finish(own, gid, index, record)
        if Tickets.may_have_ticket(record.tags) then
            local told = cjson.decode(ARGV[position + 5])
            local word = told.errorCode
            Tickets.end_ticket(record.request_id, word and 'failed' or 'succeeded', word, now, told.errorType)
            Tickets.ticket_of(record.request_id).empty = has_result ~= '1' or nil
        elseif next(Rules.webhooks) then
            local told = cjson.decode(ARGV[position + 5])
            Outbox.note_plain(record.request_id, told.errorCode and 'failed' or 'succeeded', index,
                told.errorCode, told.errorType)
        end
        if has_result == '1' then
            local extra, tags = ARGV[position + 5], record.tags
            if extra ~= '{}' or Contents.is_marked(tags) then
                tags = Answers.laid_over(tags, cjson.decode(extra))
            end
            Answers.answer(record.request_id, tags, ARGV[position + 4], now)
        end
        results[#results + 1] = 1
    else
        Stops.clear_stop(gid, uid, index)
        results[#results + 1] = 0
    end
end

return results
