-- prelude/groups: the sums of each group, and how much each subscriber holds.
-- uses: lines, owners, pauses, records, stops, usage, writes

local function group_sum(q, gid, name, by)
    return redis.call('HINCRBY', q.groups, gid .. SEP .. name, by)
end

local function group_value(q, gid, name)
    return tonumber(redis.call('HGET', q.groups, gid .. SEP .. name) or 0)
end

-- How many entries could be delivered to this group now: it has neither held, committed, skipped nor
-- paused them.
local function waiting(q, gid)
    local sums = redis.call('HMGET', q.groups,
        gid .. SEP .. 'held', gid .. SEP .. 'done', gid .. SEP .. 'skipped', gid .. SEP .. 'paused')
    return Owners.length_for(q, Owners.owner_of(gid)) - tonumber(sums[1] or 0) - tonumber(sums[2] or 0)
        - tonumber(sums[3] or 0) - tonumber(sums[4] or 0)
end

-- Set a subscriber's window and the number of entries that it holds.  The group's sums over its
-- subscribers with room change along with it: `deliver` computes equal shares from them.
local function set_subscriber(q, gid, uid, window, held)
    local subscriber = gid .. SEP .. uid .. SEP
    local old = redis.call('HMGET', q.subscribers, subscriber .. 'window', subscriber .. 'held')
    local old_window, old_held = tonumber(old[1] or 0), tonumber(old[2] or 0)
    local roomy, roomy_held = 0, 0
    if old_held < old_window then
        roomy, roomy_held = -1, -old_held
    end
    if held < window then
        roomy, roomy_held = roomy + 1, roomy_held + held
    end
    if roomy ~= 0 then
        group_sum(q, gid, 'roomy', roomy)
    end
    if roomy_held ~= 0 then
        group_sum(q, gid, 'roomy_held', roomy_held)
    end
    if held ~= old_held then
        group_sum(q, gid, 'held', held - old_held)
        redis.call('HINCRBY', q.meta, 'held', held - old_held)
    end
    redis.call('HSET', q.subscribers, subscriber .. 'window', window, subscriber .. 'held', held)
end

-- Deliveries that ended in this call, by subscriber; `flush` writes the sums once for all.
local ended = {}
-- True where deliveries may have ended by another replica's doing than their connection's.
local tell_windows = false

local function may_open_windows_elsewhere()
    tell_windows = true
end

local function end_hold(q, gid, uid, index)
    local member = gid .. SEP .. uid .. SEP .. padded(index)
    Writes.later('ZREM', q.holds, member)
    Writes.later('ZREM', q.deadlines, member)
    if q == input then
        Stops.clear_stop(gid, uid, index)
        Usage.end_run(gid, index, 'wasted')
        if lines_from then
            Lines.end_run(gid, index)
        end
    end
    local key = (q == own and 'o' or 'p') .. gid .. SEP .. uid
    local sum = ended[key] or { q = q, gid = gid, uid = uid, count = 0 }
    sum.count = sum.count + 1
    ended[key] = sum
end

-- Remove a released, paused or skipped entry from this group's bookkeeping.
local function end_wait(q, gid, index)
    local member = gid .. SEP .. padded(index)
    redis.call('ZREM', q.released, member)
    Pauses.finish(q, member)
    if redis.call('ZREM', q.skipped, member) == 1 then
        group_sum(q, gid, 'skipped', -1)
    end
end

-- Forget groups without members, {group = true}.  Several at once, because their fields are found by a
-- scan of all fields.
local function forget_groups(gids)
    for gid in pairs(gids) do
        for _, set in ipairs({ own.released, own.skipped }) do
            redis.call('ZREMRANGEBYLEX', set, '[' .. gid .. SEP, '(' .. gid .. ' ')
        end
        redis.call('HDEL', own.members, gid)
    end
    for _, member in ipairs(redis.call('ZRANGE', own.pauses, 0, -1)) do
        if gids[string.match(member, '^[^\31]*')] then
            redis.call('ZREM', own.pauses, member)
        end
    end
    for _, hash in ipairs({ own.deliveries, own.done, own.groups }) do
        for _, field in ipairs(redis.call('HKEYS', hash)) do
            if gids[string.match(field, '^[^\31]*')] then
                redis.call('HDEL', hash, field)
            end
        end
    end
end

-- The groups of a queue and their members, read once in a call.
local groups_read = {}

-- The members of a group have changed.
local function read_again(q)
    groups_read[q] = nil
end

local function groups_of(q)
    local groups = groups_read[q]
    if not groups then
        groups = { gids = {}, members = {} }
        local members = redis.call('HGETALL', q.members)
        for position = 1, #members, 2 do
            groups.gids[#groups.gids + 1] = members[position]
            groups.members[members[position]] = tonumber(members[position + 1])
        end
        groups.any_done = redis.call('EXISTS', q.done) == 1
        groups.any_taken = redis.call('EXISTS', q.taken) == 1
        groups_read[q] = groups
    end
    return groups
end

-- The workers that hold an input entry: they can be asked to stop.
local function workers_that_hold(index)
    local found = {}
    for _, gid in ipairs(groups_of(input).gids) do
        local record = Records.record_of(input, gid, index)
        local about = record and record.state == 'h'
            and redis.call('HGET', input.subscribers, gid .. SEP .. record.uid .. SEP .. 'about')
        if about and cjson.decode(about).kind == 'worker' then
            found[#found + 1] = { gid = gid, uid = record.uid, attempt = record.attempt }
        end
    end
    return found
end

local function flush()
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
            -- The subscriber whose window is open again may be connected to another replica.
            ring((sum.q == own and role or peer_role) .. ' windows')
        end
    end
    ended = {}
end

return {
    workers_that_hold = workers_that_hold,
    group_sum = group_sum, group_value = group_value, waiting = waiting,
    set_subscriber = set_subscriber, may_open_windows_elsewhere = may_open_windows_elsewhere,
    end_hold = end_hold, end_wait = end_wait, forget_groups = forget_groups,
    read_again = read_again, groups_of = groups_of, flush = flush,
}
