-- prelude/settle: the end of every verb, and the end of a subscriber.

-- True where deliveries may have ended by another replica's doing than their connection's.
local tell_windows = false

-- Write what was put off and the sums that changed, and ring where somebody may now be served.
-- Every verb that writes ends with this.
local function settle()
    settle_tickets()
    write_records()
    write_request_ids()
    write_owned(later)
    if lined_from then
        fair_line().write()
    end
    write_all()
    for q, last in pairs(last_index) do
        redis.call('HSET', q.meta, 'last', last, 'format', format_of[q])
    end
    last_index = {}
    if lined_from then
        fair_line().close()
    end
    for _, sum in pairs(ended) do
        local subscriber = sum.gid .. SEP .. sum.uid .. SEP
        local old = redis.call('HMGET', sum.q.subscribers,
            subscriber .. 'window', subscriber .. 'held')
        if old[1] then
            set_subscriber(sum.q, sum.gid, sum.uid, tonumber(old[1]),
                math.max(0, tonumber(old[2]) - sum.count))
        end
        local was_full = tell_windows and old[1] and tonumber(old[2]) >= tonumber(old[1])
        if was_full or waiting(sum.q, sum.gid) > 0 then
            -- Other replicas may hold the connection whose window this has opened.
            ring((sum.q == own and role or peer_role) .. ' windows')
        end
    end
    ended = {}
    if answered then
        answered = false
        ring(peer_role)
    end
    if sink_space and redis.call('HDEL', input.meta, 'blocked') == 1 then
        ring('input')
    end
end

-- Those who left a group lately, for its attributes: {user, when in ms, how many it held}, the
-- newest last.
local function departed_without(q, gid, uid)
    local kept, text = {}, redis.call('HGET', q.groups, gid .. SEP .. 'departed')
    for _, one in ipairs(text and cjson.decode(text) or {}) do
        if one[1] ~= uid then
            kept[#kept + 1] = one
        end
    end
    return kept
end

local function write_departed(q, gid, departed)
    if #departed == 0 then
        redis.call('HDEL', q.groups, gid .. SEP .. 'departed')
    else
        redis.call('HSET', q.groups, gid .. SEP .. 'departed', cjson.encode(departed))
    end
end

-- Forget a subscriber; whatever it held, `held` entries, was put back before.
local function forget_subscriber(q, gid, uid, now, held)
    local subscriber = gid .. SEP .. uid
    local departed = departed_without(q, gid, uid)
    departed[#departed + 1] = { uid, now, held }
    local MOST_DEPARTED = 20
    if #departed > MOST_DEPARTED then
        table.remove(departed, 1)
    end
    write_departed(q, gid, departed)
    set_subscriber(q, gid, uid, 0, 0)
    for _, name in ipairs({ 'window', 'held', 'session', 'filter', 'about', 'reserved' }) do
        redis.call('HDEL', q.subscribers, subscriber .. SEP .. name)
    end
    redis.call('ZREM', q.leases, subscriber)
    if q == input then
        clear_stops_of(gid, uid)
    end
    groups_read[q] = nil
    if redis.call('HINCRBY', q.members, gid, -1) > 0 then
        return
    end
    redis.call('HSET', q.groups, gid .. SEP .. 'left', now)

    -- What only this group still owed was waiting for it, and now goes.
    if redis.call('HLEN', q.done) > 0 then
        for _, field in ipairs(redis.call('HKEYS', q.done)) do
            local other, index = string.match(field, '^([^\31]*)\31(%d+)$')
            if not owed_by_another(q, other, index) then
                remove(q, index)
            end
        end
    end
end

-- Put everything back that a subscriber holds.  `uncharged`: the deliveries do not count as
-- attempts.  Returns how many that were.
local function release_all(q, gid, uid, uncharged)
    local prefix = gid .. SEP .. uid .. SEP
    local members = redis.call('ZRANGEBYLEX', q.holds, '[' .. prefix, '(' .. gid .. SEP .. uid .. ' ')
    for _, member in ipairs(members) do
        local index = unpadded(string.sub(member, #prefix + 1))
        local record = record_of(q, gid, index)
        if uncharged then
            record.attempt = record.attempt - 1
        end
        put_back(q, gid, index, record, 'r', nil, uncharged)
    end
    return #members
end
