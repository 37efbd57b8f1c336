-- complete: remove an input entry and store its result in the sink, in one step.
--
-- argv     4  group
--          then for each completion: user, index, attempt, "1" when there is a result,
--          its data, its tags (JSON, laid over the entry's), the code of the failure that the
--          result tells of or "", its sentence, and its type or ""
-- returns  for each completion 1, or 0 when the delivery was no longer this user's
write_although_full()
local gid = ARGV[4]
local now = now_ms()

-- A failure for good leaves a dead letter where the policy wants one, and always when the entry
-- has killed one engine after the other.
local function note_failure(uid, index, record, code, sentence, kind)
    if code == 'EngineDied' then
        note_death(own, gid, index, uid)
        if lined_from then
            fair_line().note_kill(gid, index, uid)
        end
        later('HDEL', own.deliveries, deaths_field(gid, index))
    elseif kind == 'timeout' and lined_from then
        fair_line().note_broken_off(gid, index)
    end
    local poison = code == 'PoisonJob' or code == 'EngineDied' and is_poison(gid, index)
    if not poison and rules().dead_message_policy ~= 'Park' then
        return
    end
    local fields, lane = read(own, index, record.lane)
    if not fields then
        return
    end
    park(gid, index, fields, lane, {
        reason = poison and 'PoisonJob' or 'Failed', code = code, sentence = sentence,
        attempts = record.attempt, uid = uid, type = kind ~= '' and kind or nil,
    })
end

-- The results go under the same request ids.
read_request_ids(peer, read_ahead(gid, 6, 9))

local results = {}
for position = 5, #ARGV, 9 do
    local uid, index, attempt, has_result = unpack(ARGV, position, position + 3)
    local record = record_of(own, gid, index)
    if record and record.state == 'h' and record.uid == uid
        and record.attempt == tonumber(attempt)
    then
        local code = ARGV[position + 6]
        if code ~= '' then
            note_failure(uid, index, record, code, ARGV[position + 7], ARGV[position + 8])
        end
        finish(own, gid, index, record)
        if may_have_ticket(record.tags) then
            local told = cjson.decode(ARGV[position + 5])
            local word = told.errorCode
            end_ticket(record.request_id, word and 'failed' or 'succeeded', word, now, told.errorType)
            ticket_of(record.request_id).empty = has_result ~= '1' or nil
        end
        if has_result == '1' then
            local extra, tags = ARGV[position + 5], record.tags
            if extra ~= '{}' then
                tags = laid_over(tags, cjson.decode(extra))
            end
            answer(record.request_id, tags, ARGV[position + 4], now)
        end
        results[#results + 1] = 1
    else
        clear_stop(gid, uid, index)
        results[#results + 1] = 0
    end
end

settle()
return results
