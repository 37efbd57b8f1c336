-- prelude/subscribers: the end of a subscriber.
-- uses: entries, groups, records, redelivery, stops

-- The users that left a group lately, for its attributes: {user, when in ms, how many it held}, the
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
    Groups.set_subscriber(q, gid, uid, 0, 0)
    for _, name in ipairs({ 'window', 'held', 'session', 'filter', 'about', 'reserved' }) do
        redis.call('HDEL', q.subscribers, subscriber .. SEP .. name)
    end
    redis.call('ZREM', q.leases, subscriber)
    if q == input then
        Stops.clear_stops_of(gid, uid)
    end
    Groups.read_again(q)
    if redis.call('HINCRBY', q.members, gid, -1) > 0 then
        return
    end
    redis.call('HSET', q.groups, gid .. SEP .. 'left', now)

    -- Entries that only this group still needed are removed.
    if redis.call('HLEN', q.done) > 0 then
        for _, field in ipairs(redis.call('HKEYS', q.done)) do
            local other, index = string.match(field, '^([^\31]*)\31(%d+)$')
            if not Entries.owed_by_another(q, other, index) then
                Entries.remove(q, index)
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
        local record = Records.record_of(q, gid, index)
        if uncharged then
            record.attempt = record.attempt - 1
        end
        Redelivery.put_back(q, gid, index, record, 'r', nil, uncharged)
    end
    return #members
end

return {
    departed_without = departed_without, write_departed = write_departed,
    forget_subscriber = forget_subscriber, release_all = release_all,
}
