-- prelude/dead_letters: the end of an entry that is handed out no more.
--
-- A held input entry has a place kept for it in the sink, and the error that answers it takes
-- that place: the hold ends and the answer is stored in the same call.
local MOST_USERS = 2 -- different users whose engines died: nobody runs such an entry again
local MOST_ALONE = 3 -- the same for deaths of a single user that is the only one there

local answered = false

-- A status is what PAI's predictor reads, with int(): a word in its place would break it.
local function status_of(code)
    local is_late = code == 'MaxIdle' or code == 'RunTimeout'
    return string.match(code, '^%d+$') or is_late and '504' or '500'
end

local function laid_over(text, extra)
    local tags = cjson.decode(text)
    for name, value in pairs(extra) do
        tags[name] = value
    end
    return cjson.encode(tags)
end

-- Store a result or an error for an input entry.  Its place was kept, or the sink evicts.
local function answer(request_id, tags, data, now)
    if rules().sink_evicts then
        evictions().make_room(peer, length(peer), rules().sink_capacity, request_id)
    end
    append(peer, 0, { 'r', request_id, 't', tags, 'a', now, 'd', data, 'p', '', 'c', '' })
    answered = true
end

local function forget_letter(q, index)
    redis.call('HDEL', q.dead, index)
    redis.call('HDEL', q.dead_data, index)
    return redis.call('ZREM', q.dead_order, index) == 1
end

local function letter_of(index)
    local text = redis.call('HGET', own.dead, index)
    return text and cmsgpack.unpack(text)
end

-- Keep the whole entry for somebody to look at, and crowd out the oldest beyond the limit.
local function park(gid, index, fields, lane, letter)
    -- Which letter goes for a newer one: the oldest, but not that of an owner who has few of them for one
    -- who has many, as a sample shows.
    local function next_to_crowd_out()
        local SAMPLE = 20
        local first = redis.call('ZRANGE', own.dead_order, 0, 0)[1]
        local letter = first and letter_of(first)
        if not letter or format_of[input] < OWNED_FORMAT then
            return first
        end
        local counts, chosen = {}, owner_of(letter.request_id)
        local oldest_of, numbers = {}, {}
        local sample = redis.call('ZRANDMEMBER', own.dead_order, SAMPLE, 'WITHSCORES')
        for position = 1, #sample, 2 do
            local one = letter_of(sample[position])
            local owner, number = one and owner_of(one.request_id) or '', tonumber(sample[position + 1])
            counts[owner] = (counts[owner] or 0) + 1
            if not numbers[owner] or number < numbers[owner] then
                oldest_of[owner], numbers[owner] = sample[position], number
            end
            if counts[owner] > (counts[chosen] or 0) then
                chosen = owner
            end
        end
        return chosen ~= owner_of(letter.request_id) and oldest_of[chosen] or first
    end

    local number = redis.call('HINCRBY', own.meta, 'dead_number', 1)
    redis.call('HSET', own.dead, index, cmsgpack.pack({
        request_id = fields[REQUEST_ID], tags = fields[TAGS], stored_at = fields[STORED_AT],
        path = fields[PATH], content_type = fields[CONTENT_TYPE], lane = lane,
        size = #fields[DATA], reason = letter.reason, code = letter.code, type = letter.type,
        sentence = letter.sentence, attempts = letter.attempts, uid = letter.uid,
        deaths = deaths_of(own, gid, index).uids, parked_at = now_ms(), owner = fields[OWNER],
        urgent = fields[OWNER] and is_urgent(fields) or nil,
    }))
    redis.call('HSET', own.dead_data, index, fields[DATA])
    redis.call('ZADD', own.dead_order, number, index)
    redis.call('HINCRBY', own.meta, 'parked', 1)
    local beyond = redis.call('ZCARD', own.dead_order) - rules().max_dead_letters
    if beyond <= 0 then
        return
    end
    for _ = 1, math.min(beyond, 100) do
        forget_letter(own, next_to_crowd_out())
        redis.call('HINCRBY', own.meta, 'crowded_out', 1)
    end
end

-- A bystander of the input queue reads along; what it cannot do ends for its group alone, as a
-- job is the workers' to answer.
local function is_bystander(gid)
    if role ~= 'input' or group_value(own, gid, 'resident') == 1 then
        return false
    end
    for _, other in ipairs(groups_of(own).gids) do
        if group_value(own, other, 'resident') == 1 then
            return true
        end
    end
    return false
end

local function to_the_rear(index, fields, lane, record)
    local finished = {}
    for _, other in ipairs(groups_of(own).gids) do
        if redis.call('HEXISTS', own.done, other .. SEP .. index) == 1 then
            finished[#finished + 1] = other
        end
    end
    remove(own, index, lane, record.request_id, fields[TAGS])
    local new_index = append(own, lane, fields)
    for _, other in ipairs(finished) do
        redis.call('HSET', own.done, other .. SEP .. new_index, 1)
        group_sum(own, other, 'done', 1)
    end
end

-- How the last hand-out failed when nobody said so.
local function note_loss(gid, index, uid)
    note_error(own, gid, index, 'WorkerLost', 'its worker was lost before it answered', uid,
        'engine_lost')
end

local function tell_poison(deaths)
    if #deaths.uids >= MOST_USERS then
        return 'the engines of ' .. #deaths.uids .. ' workers died while they ran it'
    end
    return 'the engine of the only worker died ' .. deaths.most .. ' times while it ran it'
end

-- Whether an entry has killed engines enough to be taken for their killer.
local function is_poison(gid, index)
    local deaths = deaths_of(own, gid, index)
    return #deaths.uids >= MOST_USERS
        or deaths.most >= MOST_ALONE and tonumber(redis.call('HGET', own.members, gid)) == 1
end

-- End an entry that nobody holds by its policy.  Poison is parked by any; and what a retry policy
-- bounds does not go to the rear, where its attempts would count from 0 again.
-- Returns "parked", "answered", "dropped" or "reared".
local function end_by_policy(gid, index, record, reason)
    local policy, _, bounded = rules().dead_message_policy, most_attempts(own, record)
    if reason == 'PoisonJob' then
        policy = 'Park'
    elseif policy == 'Rear' and bounded and role == 'input' then
        policy = 'Answer'
    end
    local function last_failure()
        if not error_of(own, gid, index) then
            note_loss(gid, index, record.uid)
        end
        return error_of(own, gid, index)
    end
    local fields, lane = read(own, index, record.lane)
    local function answer_failure(failure)
        local code, sentence, kind = failure.code, failure.sentence, failure.type
        if reason == 'PoisonJob' then
            code, sentence, kind = reason, tell_poison(deaths_of(own, gid, index)), 'engine_lost'
        end
        local extra = { lastCode = status_of(code), errorCode = code, errorType = kind }
        answer(record.request_id, laid_over(fields[TAGS], extra), sentence, now_ms())
        fail_ticket(record.request_id, fields[TAGS], code, kind)
    end
    local outcome = 'dropped'
    if not fields then
        -- Its stream has lost it, as after a repair by hand: there is nothing left to end.
        erase_record(own, gid, index, record)
        end_wait(own, gid, index)
        return outcome
    end
    if policy ~= 'Rear' and is_bystander(gid) then
        finish(own, gid, index, record)
    elseif policy == 'Park' then
        outcome = 'parked'
        local failure = last_failure()
        park(gid, index, fields, lane, {
            reason = reason, code = failure.code, sentence = failure.sentence, type = failure.type,
            uid = failure.uid, attempts = record.attempt,
        })
        if role == 'input' then
            answer_failure(failure)
        end
        remove(own, index, lane, record.request_id, fields[TAGS])
    elseif policy == 'Answer' then
        outcome = 'answered'
        answer_failure(last_failure())
        remove(own, index, lane, record.request_id, fields[TAGS])
    elseif policy == 'Drop' then
        fail_ticket(record.request_id, fields[TAGS], reason, last_failure().type)
        remove(own, index, lane, record.request_id, fields[TAGS])
    else
        outcome = 'reared'
        to_the_rear(index, fields, lane, record)
    end
    if outcome == 'dropped' or outcome == 'reared' then
        redis.call('HINCRBY', own.meta, outcome, 1)
    end
    return outcome
end

-- Whether the sink takes an answer for which no place is kept.
local function sink_has_room()
    local kept = tonumber(redis.call('HGET', own.meta, 'held') or 0)
    return rules().sink_evicts or length(peer) + kept < rules().sink_capacity
end

-- The request was not done in time: whoever waits for its result is told so, by the ticket alone
-- where the sink has no place for it.
local function expire_request(request_id, index, tags, now, has_place)
    if index then
        remove(input, index)
    end
    if has_place then
        local extra = { errorCode = 'Expired', errorType = 'timeout', lastCode = '504' }
        answer(request_id, laid_over(tags, extra), 'it was not done by the time set for it', now)
    end
    end_ticket(request_id, 'expired', 'Expired', now, 'timeout')
end

-- A worker was told to stop this delivery, and it has ended without a result.
local function stop_delivery(index, record, why)
    local now = now_ms()
    if why == 'late' then
        expire_request(record.request_id, index, record.tags, now, true)
        return
    end
    remove(input, index, record.lane, record.request_id, record.tags)
    end_ticket(record.request_id, 'canceled', 'Canceled', now)
end

-- The delivery has ended without a commit: the entry goes out again, lowest index first, unless
-- it was handed out as often as permitted, or was to be stopped.
-- failure: what its user has said of it, {type = that of the failure, pause_ms = how long it waits,
-- is_last = true for no further attempt}; nil when the user said nothing.  uncharged: this was no attempt.
local function put_back(q, gid, index, record, state, failure, uncharged)
    local why = q == input and stop_of(gid, record.uid, index)
    if why then
        stop_delivery(index, record, why)
        return
    end
    if lined_from and q == input and failure and failure.type == 'timeout' then
        fair_line().note_broken_off(gid, index)
    end
    local is_followed = q == input and may_have_ticket(record.tags)
    if is_followed then
        to_tell[record.request_id] = true
    end
    end_hold(q, gid, record.uid, index)
    record.state = state
    write_record(q, gid, index, record)
    local most = most_attempts(q, record)
    if not (failure and failure.is_last) and (most == 0 or record.attempt < most) then
        local pause_ms = failure and failure.pause_ms or 0
        local next_at = pause_ms > 0 and now_ms() + pause_ms
        if is_followed and uncharged then
            event_stream().begin_again(record.request_id, record.attempt + 1)
        elseif is_followed and q == own and state ~= 'o' then
            if state == 'r' then
                -- Its followers see why the attempt has failed, where nobody has said so.
                note_loss(gid, index, record.uid)
            end
            local failed = error_of(own, gid, index)
            event_stream().tell_failure(record.request_id, record.attempt, failed, pause_ms, next_at)
        end
        if lined_from and q == input then
            fair_line().come_back(gid, index)
        end
        if next_at then
            pausing().begin(q, gid, index, next_at)
        else
            redis.call('ZADD', q.released, 0, gid .. SEP .. padded(index))
        end
        return
    end
    if not failure then
        note_loss(gid, index, record.uid)
    end
    end_by_policy(gid, index, record, 'MaxDelivery')
end

-- The next dead letters of a choice, at most so many, and the number at which to go on, "" when
-- all were seen.  A choice is {ids = indexes} or {code =, reason =, request_id =, owner =}, each
-- optional.
local function next_letters(choice, after, last, most)
    local SCAN_LIMIT = 200 -- dead letters that one call may pass over
    local found = {}
    if choice.ids then
        for _, index in ipairs(choice.ids) do
            found[#found + 1] = { index = index, letter = letter_of(index) }
        end
        return found, ''
    end
    local scanned = redis.call('ZRANGEBYSCORE', own.dead_order, '(' .. after, last,
        'WITHSCORES', 'LIMIT', 0, SCAN_LIMIT)
    for position = 1, #scanned, 2 do
        local index, letter = scanned[position], letter_of(scanned[position])
        if letter and (not choice.code or choice.code == letter.code)
            and (not choice.reason or choice.reason == letter.reason)
            and (not choice.request_id or choice.request_id == plain_of(letter.request_id))
            and (not choice.owner or choice.owner == owner_of(letter.request_id))
        then
            found[#found + 1] = { index = index, letter = letter }
        end
        if #found == most then
            return found, scanned[position + 1]
        end
    end
    return found, #scanned == 2 * SCAN_LIMIT and scanned[#scanned] or ''
end

-- Where a walk over dead letters ends: those that are parked meanwhile are not walked over.
local function last_number(wanted)
    return wanted ~= '' and wanted or redis.call('HGET', own.meta, 'dead_number') or '0'
end

local function render_letter(index, letter)
    return { index, letter.request_id, letter.tags, letter.stored_at, letter.path,
        letter.content_type, letter.lane, letter.size, letter.reason, letter.code,
        letter.sentence, letter.attempts, letter.uid, letter.deaths, letter.parked_at,
        letter.type or '' }
end
