-- prelude/quotas: what the token that puts may have.
--
-- A putter is "<id> <1: it waits in a line of its own> <most in line> <most at once>
-- <ms from one put to the next> <puts at once> <1: its priority goes before other owners>", each
-- limit 0 for none; "" is the service's own token.
-- The rate is kept in a key of the token, as the time at which its allowance is whole again.
local quotas_made

-- Made at its first use, as the service's own token has none.
local function quotas()
    if quotas_made then
        return quotas_made
    end
    local quota = {}
    quotas_made = quota

    function quota.read_putter(text)
        if text == '' then
            return nil
        end
        local id, lined, in_line, most, interval_ms, burst, urgent =
            string.match(text, '^(%S+) ([01]) (%d+) (%d+) (%S+) (%d+) ([01])$')
        return {
            owner = lined == '1' and id .. ':' .. most or nil, id = id,
            in_line = tonumber(in_line), interval_ms = tonumber(interval_ms),
            burst = tonumber(burst), urgent = urgent == '1',
        }
    end

    local function whole_again(key, now)
        return math.max(now, tonumber(redis.call('GET', key) or 0))
    end

    -- Returns nil, or why nothing more is taken now: {"quota", which limit, how many there are, ms
    -- until there may be room, -1 for nobody knows}.
    function quota.refusal(putter, key, now)
        if putter.in_line > 0 then
            local account = fair_line().account_of(putter.id)
            local count = account.waiting[0] + account.waiting[1] + account.delayed
            if count >= putter.in_line then
                return { 'quota', 'in_line', count, -1 }
            end
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

    -- Write into an entry's fields whose it is; returns the lane it goes into.  Where it has no line of
    -- its own the lane alone decides, and without the right it may not pass anybody.
    function quota.own(fields, putter, lane)
        if not putter.owner then
            return putter.urgent and lane or 0
        end
        fields[OWNER - 1], fields[OWNER] = 'o', putter.owner
        if putter.urgent and lane == 1 then
            fields[#fields + 1] = 'u'
            fields[#fields + 1] = 1
        end
        return lane
    end
    return quota
end
