-- prelude/dead_letter_policy: what happens to an entry that is not delivered again.
-- uses: answers, dead_letters, entries, groups, records, rules, tickets, usage

-- PAI's predictor reads this status with int(), so it must be a number.
local function status_of(code)
    local is_late = code == 'MaxIdle' or code == 'RunTimeout'
    return string.match(code, '^%d+$') or is_late and '504' or '500'
end

local MOST_USERS = 2 -- an entry that killed the engines of this number of users is not run again
local MOST_ALONE = 3 -- the same for deaths at one user, if there is no other user

-- A bystander is a group of the input queue beside the workers.  An entry that it fails to process
-- ends for that group alone: only workers answer jobs.
local function is_bystander(gid)
    if role ~= 'input' or Groups.group_value(own, gid, 'resident') == 1 then
        return false
    end
    for _, other in ipairs(Groups.groups_of(own).gids) do
        if Groups.group_value(own, other, 'resident') == 1 then
            return true
        end
    end
    return false
end

local function to_the_rear(index, fields, lane, record)
    local finished = {}
    for _, other in ipairs(Groups.groups_of(own).gids) do
        if redis.call('HEXISTS', own.done, other .. SEP .. index) == 1 then
            finished[#finished + 1] = other
        end
    end
    Entries.remove(own, index, lane, record.request_id, fields[TAGS])
    local new_index = Entries.append(own, lane, fields)
    for _, other in ipairs(finished) do
        redis.call('HSET', own.done, other .. SEP .. new_index, 1)
        Groups.group_sum(own, other, 'done', 1)
    end
end

-- The failure of a delivery that ended without a report.
local function note_loss(gid, index, uid)
    Records.note_error(own, gid, index, 'WorkerLost', 'its worker was lost before it answered', uid,
        'engine_lost')
end

local function tell_poison(deaths)
    if #deaths.uids >= MOST_USERS then
        return 'the engines of ' .. #deaths.uids .. ' workers died while they ran it'
    end
    return 'the engine of the only worker died ' .. deaths.most .. ' times while it ran it'
end

-- Whether an entry has killed enough engines to be the likely cause.
local function is_poison(gid, index)
    local deaths = Records.deaths_of(own, gid, index)
    return #deaths.uids >= MOST_USERS
        or deaths.most >= MOST_ALONE and tonumber(redis.call('HGET', own.members, gid)) == 1
end

-- Apply the dead-letter policy to an entry that no subscriber holds.  Every policy parks an entry that
-- kills engines.  An entry with a retry policy does not go to the rear, because its attempts would
-- count from 0 again.
-- Returns "parked", "answered", "dropped" or "reared".
local function end_by_policy(gid, index, record, reason)
    local policy, _, bounded = Rules.dead_message_policy, Tickets.most_attempts(own, record)
    if reason == 'PoisonJob' then
        policy = 'Park'
    elseif policy == 'Rear' and bounded and role == 'input' then
        policy = 'Answer'
    end
    local function last_failure()
        if not Records.error_of(own, gid, index) then
            note_loss(gid, index, record.uid)
        end
        return Records.error_of(own, gid, index)
    end
    local fields, lane = read(own, index, record.lane)
    local function answer_failure(failure)
        local code, sentence, kind = failure.code, failure.sentence, failure.type
        if reason == 'PoisonJob' then
            code, sentence, kind = reason, tell_poison(Records.deaths_of(own, gid, index)), 'engine_lost'
        end
        local extra = { lastCode = status_of(code), errorCode = code, errorType = kind }
        Answers.answer(record.request_id, Answers.laid_over(fields[TAGS], extra), sentence, now_ms())
        Tickets.fail_ticket(record.request_id, fields[TAGS], code, kind, index)
    end
    local outcome = 'dropped'
    if not fields then
        -- The stream does not have it, as after a manual repair: only the bookkeeping is left.
        Records.erase_record(own, gid, index, record)
        Groups.end_wait(own, gid, index)
        return outcome
    end
    local is_for_group_alone = policy ~= 'Rear' and is_bystander(gid)
    if role == 'input' and not is_for_group_alone then
        -- At the rear of the queue the job goes on.
        Usage.note_end(index, policy ~= 'Rear' and 'failed', fields)
    end
    if is_for_group_alone then
        Entries.finish(own, gid, index, record)
    elseif policy == 'Park' then
        outcome = 'parked'
        local failure = last_failure()
        DeadLetters.park(gid, index, fields, lane, {
            reason = reason, code = failure.code, sentence = failure.sentence, type = failure.type,
            uid = failure.uid, attempts = record.attempt,
        })
        if role == 'input' then
            answer_failure(failure)
        end
        Entries.remove(own, index, lane, record.request_id, fields[TAGS])
    elseif policy == 'Answer' then
        outcome = 'answered'
        answer_failure(last_failure())
        Entries.remove(own, index, lane, record.request_id, fields[TAGS])
    elseif policy == 'Drop' then
        Tickets.fail_ticket(record.request_id, fields[TAGS], reason, last_failure().type, index)
        Entries.remove(own, index, lane, record.request_id, fields[TAGS])
    else
        outcome = 'reared'
        to_the_rear(index, fields, lane, record)
    end
    if outcome == 'dropped' or outcome == 'reared' then
        redis.call('HINCRBY', own.meta, outcome, 1)
    end
    return outcome
end

return { is_poison = is_poison, note_loss = note_loss, end_by_policy = end_by_policy }
