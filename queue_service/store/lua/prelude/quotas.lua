-- prelude/quotas: what the token that puts may have.
-- uses: lines, owners, rules
--
-- A putter is "<account> <most waiting> <most at once> <ms from one put to the next> <puts at once>
-- <1: its priority goes before other owners> <most results in the sink>", each limit 0 for none; ""
-- is the service's own token.  The account is the owner, so that all its tokens count as one; that of a
-- token which sees everybody's entries is its id.
-- The rate is kept in a key of the token, as the time at which its allowance is whole again.
local quota = {}

-- An owner may hold this many times the free room of a queue: four fifths when it is alone, less
-- beside others.  So there is always room for a newcomer.
local SHARE = 4

-- Whether an owner with this number of results, in the sink and to come, may have one more.
function quota.may_have_result(results, room)
    if Rules.sink_evicts or results == 0 then
        return true
    end
    room = room or Rules.sink_capacity - length(sink)
        - tonumber(redis.call('HGET', input.meta, 'held') or 0)
    return results < SHARE * room
end

function quota.read_putter(text)
    if text == '' then
        return nil
    end
    local id, in_line, most, interval_ms, burst, urgent, unread =
        string.match(text, '^(%S+) (%d+) (%d+) (%S+) (%d+) ([01]) (%d+)$')
    return {
        owner = id .. ':' .. most, id = id, in_line = tonumber(in_line),
        interval_ms = tonumber(interval_ms), burst = tonumber(burst), urgent = urgent == '1',
        unread = tonumber(unread),
    }
end

local function whole_again(key, now)
    return math.max(now, tonumber(redis.call('GET', key) or 0))
end

-- Why an owner may have no more in the queues now, whatever its limits: it would leave no room for
-- others.  `room` is that of the input queue, "nil" where a full one drops its oldest.
local function share_refusal(account, owner, results, in_line, room)
    local holds = in_line + account.runs
    if owner ~= '' then
        -- What waits for its next attempt takes up room too, and is in no line.
        holds = math.max(holds, Owners.length_for(input, owner) + account.delayed)
    end
    if room and holds >= SHARE * room and holds > 0 then
        return { 'quota', 'input_share', holds, -1 }
    elseif 10 * results >= Rules.sink_capacity and not quota.may_have_result(results) then
        return { 'quota', 'sink_share', results, -1 }
    end
    return nil
end

-- Returns nil, or why nothing more is taken now: {"quota", which limit, how many there are, ms
-- until there may be room, -1 if that is unknown}.
function quota.refusal(putter, owner, key, now, room)
    local account = Lines.account_of(putter.id)
    local in_line = account.waiting[0] + account.waiting[1] + account.delayed
        + (lined_from and Lines.count_back(putter.id) or 0)
    if putter.in_line > 0 and in_line >= putter.in_line then
        return { 'quota', 'in_line', in_line, -1 }
    end
    local results = owner ~= '' and Owners.length_for(sink, owner) or 0
    if putter.unread > 0 and results >= putter.unread then
        return { 'quota', 'unread', results, -1 }
    end
    local refusal = share_refusal(account, owner, results, in_line, room)
    if refusal then
        return refusal
    end
    if putter.interval_ms > 0 then
        local begins = whole_again(key, now) - (putter.burst - 1) * putter.interval_ms
        if now < begins then
            return { 'quota', 'rate', 0, math.ceil(begins - now) }
        end
    end
    return nil
end

function quota.note_put(putter, key, now)
    if putter.interval_ms > 0 then
        local whole = whole_again(key, now) + putter.interval_ms
        redis.call('SET', key, string.format('%.3f', whole), 'PX', math.ceil(whole - now) + 1)
    end
end

-- For how long a key of a repeatable put is kept.  Nothing lists the keys of an owner, so those of about
-- one such time are counted; beyond that many, further ones are kept for long enough to try again.
function quota.key_ms(owner, wanted_ms, now)
    local MOST_KEYS, LEAST_KEPT_MS = 100000, 5 * 60 * 1000
    if owner == '' then
        return wanted_ms
    end
    local field = 'keys' .. SEP .. owner
    local since, count =
        string.match(redis.call('HGET', input.meta, field) or '0 0', '^(%d+) (%d+)$')
    since, count = tonumber(since), tonumber(count)
    if now - since > wanted_ms then
        since, count = now, 0
    end
    redis.call('HSET', input.meta, field, string.format('%.0f %.0f', since, count + 1))
    return count < MOST_KEYS and wanted_ms or math.min(wanted_ms, LEAST_KEPT_MS)
end

-- Write the owner into an entry's fields.
function quota.own(fields, putter, lane)
    fields[OWNER - 1], fields[OWNER] = 'o', putter.owner
    if putter.urgent and lane == 1 then
        fields[#fields + 1] = 'u'
        fields[#fields + 1] = 1
    end
end

return quota
