-- prelude/dead_letters: dead letters.
-- uses: contents, logs, owners, records, rules

-- letter: what `letter_of` says of it.
local function forget_letter(q, index, letter)
    redis.call('HDEL', q.dead, index)
    redis.call('HDEL', q.dead_data, index)
    if redis.call('ZREM', q.dead_order, index) == 0 then
        return false
    end
    Contents.let_go(letter and letter.tags)
    if q == input and letter then
        Logs.let_go(letter.request_id)
    end
    return true
end

local function letter_of(index)
    local text = redis.call('HGET', own.dead, index)
    return text and cmsgpack.unpack(text)
end

-- Keep the whole entry for an operator, and remove the oldest letters above the limit.
local function park(gid, index, fields, lane, letter)
    -- The letter that a newer one replaces: the oldest.  But an owner with many letters must not push
    -- out those of an owner with few, so a sample decides which owner has most.
    local function next_to_crowd_out()
        local SAMPLE = 20
        local first = redis.call('ZRANGE', own.dead_order, 0, 0)[1]
        local letter = first and letter_of(first)
        if not letter or format_of[input] < Owners.OWNED_FORMAT then
            return first
        end
        local counts, chosen = {}, Owners.owner_of(letter.request_id)
        local oldest_of, numbers = {}, {}
        local sample = redis.call('ZRANDMEMBER', own.dead_order, SAMPLE, 'WITHSCORES')
        for position = 1, #sample, 2 do
            local one = letter_of(sample[position])
            local owner, number = one and Owners.owner_of(one.request_id) or '', tonumber(sample[position + 1])
            counts[owner] = (counts[owner] or 0) + 1
            if not numbers[owner] or number < numbers[owner] then
                oldest_of[owner], numbers[owner] = sample[position], number
            end
            if counts[owner] > (counts[chosen] or 0) then
                chosen = owner
            end
        end
        return chosen ~= Owners.owner_of(letter.request_id) and oldest_of[chosen] or first
    end

    local number = redis.call('HINCRBY', own.meta, 'dead_number', 1)
    redis.call('HSET', own.dead, index, cmsgpack.pack({
        request_id = fields[REQUEST_ID], tags = fields[TAGS], stored_at = fields[STORED_AT],
        path = fields[PATH], content_type = fields[CONTENT_TYPE], lane = lane,
        size = #fields[DATA], reason = letter.reason, code = letter.code, type = letter.type,
        sentence = letter.sentence, attempts = letter.attempts, uid = letter.uid,
        deaths = Records.deaths_of(own, gid, index).uids, parked_at = now_ms(), owner = fields[OWNER],
        token = fields[OWNER + 1] == 'k' and fields[OWNER + 2] or nil,
        urgent = fields[OWNER] and is_urgent(fields) or nil,
    }))
    redis.call('HSET', own.dead_data, index, fields[DATA])
    redis.call('ZADD', own.dead_order, number, index)
    redis.call('HINCRBY', own.meta, 'parked', 1)
    Contents.hold(fields[TAGS])
    if own == input then
        Logs.keep(fields[REQUEST_ID])
    end
    local beyond = redis.call('ZCARD', own.dead_order) - Rules.max_dead_letters
    if beyond <= 0 then
        return
    end
    for _ = 1, math.min(beyond, 100) do
        local crowded_out = next_to_crowd_out()
        forget_letter(own, crowded_out, letter_of(crowded_out))
        redis.call('HINCRBY', own.meta, 'crowded_out', 1)
    end
end

-- At most `most` dead letters of a choice, and the number at which to go on, "" when all were seen.  A choice is {ids = indexes} or {code =, reason =, request_id =, owner =}, each
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
            and (not choice.request_id or choice.request_id == Owners.plain_of(letter.request_id))
            and (not choice.owner or choice.owner == Owners.owner_of(letter.request_id))
        then
            found[#found + 1] = { index = index, letter = letter }
        end
        if #found == most then
            return found, scanned[position + 1]
        end
    end
    return found, #scanned == 2 * SCAN_LIMIT and scanned[#scanned] or ''
end

-- Where a walk over dead letters ends, so that letters parked meanwhile do not prolong it.
local function last_number(wanted)
    return wanted ~= '' and wanted or redis.call('HGET', own.meta, 'dead_number') or '0'
end

local function render_letter(index, letter)
    return { index, letter.request_id, letter.tags, letter.stored_at, letter.path,
        letter.content_type, letter.lane, letter.size, letter.reason, letter.code,
        letter.sentence, letter.attempts, letter.uid, letter.deaths, letter.parked_at,
        letter.type or '' }
end

return {
    forget_letter = forget_letter, letter_of = letter_of, park = park, next_letters = next_letters,
    last_number = last_number, render_letter = render_letter,
}
