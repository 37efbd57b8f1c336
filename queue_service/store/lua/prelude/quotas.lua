-- prelude/quotas: the limits of the token that puts.
-- uses: contents, lines, owners, reads, rules
--
-- A putter is the text "<account> <most waiting> <most at once> <ms between puts> <burst>
-- <1 if its priority overtakes other owners> <most results in the sink> <id>".  A limit of 0 means none; the
-- text "" is the service's own token, which has no limits.  The account is the owner, so that all tokens
-- of an owner share its limits.  A token that sees all entries has its id as the account.
-- A key of the token stores its rate: the time at which the whole burst is available again.
local quota = {}

-- An owner may have at most this many times the free room of a queue: four fifths of the queue if it is
-- alone, less beside others.  So a new owner always finds room.
local SHARE = 4

-- Says whether an owner may have one more result.  results: those in the sink and those to come.
function quota.may_have_result(results, room)
    if Rules.sink_evicts or results == 0 then
        return true
    end
    room = room or Contents.sink_room()
    return results < SHARE * room
end

-- Which results that an owner has read are to go, so that it has no more than `most`, and may have one more of
-- this many places: see Reads.choose.
local function own_results_to_drop(owner, results, most, room, places)
    local function is_enough(gone, freed)
        return results - gone <= most and quota.may_have_result(results - gone, room + freed)
            and (freed == 0 or room + freed >= places)
    end
    if is_enough(0, 0) then
        return {}
    end
    return owner ~= '' and Reads.choose(owner, is_enough) or nil
end

-- Which results that an owner has read are to go, so that it may have one more, of this many places; nil if
-- it may have none.
function quota.choose_share(owner, results, room, places)
    return own_results_to_drop(owner, results, math.huge, room, places)
end

-- The same, and they go.  Returns whether it may have one more, and how many places that has freed.
function quota.make_share(owner, results, room)
    local chosen = quota.choose_share(owner, results, room, 1)
    return chosen ~= nil, chosen and Reads.drop_chosen(chosen) or 0
end

-- Says whether the sink has so little room that an owner's share of it may be used up.
function quota.is_scarce(room)
    return not Rules.sink_evicts and (SHARE + 1) * room <= Rules.sink_capacity
end

-- Returns how many more results an owner may have, if no other owner gets one.
function quota.results_left(results, room)
    return math.max(results == 0 and 1 or 0, math.ceil((SHARE * room - results) / (SHARE + 1)))
end

function quota.read_putter(text)
    if text == '' then
        return nil
    end
    local id, in_line, most, interval_ms, burst, urgent, unread, token =
        string.match(text, '^(%S+) (%d+) (%d+) (%S+) (%d+) ([01]) (%d+) (%S*)$')
    return {
        owner = id .. ':' .. most, id = id, in_line = tonumber(in_line),
        interval_ms = tonumber(interval_ms), burst = tonumber(burst), urgent = urgent == '1',
        unread = tonumber(unread), token = token,
    }
end

local function whole_again(key, now)
    return math.max(now, tonumber(redis.call('GET', key) or 0))
end

-- Returns the refusal of an owner that would leave no room for others in the input queue, whatever its own
-- limits are, or nil.  room: free places of the input queue; nil if a full queue drops its oldest entry.
local function input_share_refusal(account, owner, in_line, room)
    local holds = in_line + account.runs
    if owner ~= '' then
        -- Entries that wait for another attempt take up room, but `in_line` does not count them all.
        holds = math.max(holds, Owners.length_for(input, owner) + account.delayed)
    end
    if room and holds >= SHARE * room and holds > 0 then
        return { 'quota', 'input_share', holds, -1 }
    end
    return nil
end

-- Returns the refusal of an owner that has too many results, or nil, and which of those that it has read are
-- to go with the put.
local function result_refusal(putter, owner, results)
    local most = putter.unread > 0 and putter.unread - 1 or math.huge
    local minds_share = 10 * results >= Rules.sink_capacity
    if results <= most and not minds_share then
        return nil, {}
    end
    local room = minds_share and Contents.sink_room() or math.huge
    local chosen = own_results_to_drop(owner, results, most, room, 1)
    if chosen then
        return nil, chosen
    end
    local unread = results - Reads.count(owner)
    if unread > most then
        return { 'quota', 'unread', unread, -1 }, {}
    end
    return { 'quota', 'sink_share', results, -1 }, {}
end

-- Returns nil if the put is allowed, or else {"quota", which limit, how many the owner has, ms until the
-- put may be allowed, -1 if that is unknown}; and results that are to go if the put is stored.
function quota.refusal(putter, owner, key, now, room)
    local account = Lines.account_of(putter.id)
    local in_line = account.waiting[0] + account.waiting[1] + account.delayed
        + (lines_from and Lines.count_back(putter.id) or 0)
    if putter.in_line > 0 and in_line >= putter.in_line then
        return { 'quota', 'in_line', in_line, -1 }
    end
    local results = owner ~= '' and Owners.length_for(sink, owner) or 0
    local refusal, chosen = result_refusal(putter, owner, results)
    refusal = refusal and refusal[2] == 'unread' and refusal
        or input_share_refusal(account, owner, in_line, room) or refusal
    if refusal then
        return refusal
    end
    if putter.interval_ms > 0 then
        local begins = whole_again(key, now) - (putter.burst - 1) * putter.interval_ms
        if now < begins then
            return { 'quota', 'rate', 0, math.ceil(begins - now) }
        end
    end
    return nil, chosen
end

function quota.note_put(putter, key, now)
    if putter.interval_ms > 0 then
        local whole = whole_again(key, now) + putter.interval_ms
        redis.call('SET', key, string.format('%.3f', whole), 'PX', math.ceil(whole - now) + 1)
    end
end

-- Returns for how many ms to keep an idempotency key.  Nothing lists the keys of an owner, so this counts
-- those that it stored in about one such time.  Beyond MOST_KEYS, further keys are kept only long enough
-- for a client to try again: otherwise one owner could fill the memory with keys.
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

-- Writes the owner into an entry's fields, and the token if it has another name (see usage.lua).
function quota.own(fields, putter, lane)
    fields[OWNER - 1], fields[OWNER] = 'o', putter.owner
    if putter.token ~= putter.id and '~' .. putter.token ~= putter.id then
        fields[OWNER + 1], fields[OWNER + 2] = 'k', putter.token
    end
    if putter.urgent and lane == 1 then
        fields[#fields + 1] = 'u'
        fields[#fields + 1] = 1
    end
end

return quota
