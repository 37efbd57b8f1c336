-- prelude/groups: the sums of each group, and who holds how much.

local function group_sum(q, gid, name, by)
    return redis.call('HINCRBY', q.groups, gid .. SEP .. name, by)
end

local function group_value(q, gid, name)
    return tonumber(redis.call('HGET', q.groups, gid .. SEP .. name) or 0)
end

-- How many entries this group has neither in hand, nor behind it, nor passed over, and could be
-- given now.
local function waiting(q, gid)
    local sums = redis.call('HMGET', q.groups,
        gid .. SEP .. 'held', gid .. SEP .. 'done', gid .. SEP .. 'skipped', gid .. SEP .. 'paused')
    return length_for(q, owner_of(gid)) - tonumber(sums[1] or 0) - tonumber(sums[2] or 0)
        - tonumber(sums[3] or 0) - tonumber(sums[4] or 0)
end

-- Give a subscriber a window and a count of what it holds; keep the group's two sums over
-- those with room true, which decide the water level.
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

-- Deliveries that ended in this call, by subscriber; `settle` writes the sums once for all.
local ended = {}

local function end_hold(q, gid, uid, index)
    local member = gid .. SEP .. uid .. SEP .. padded(index)
    later('ZREM', q.holds, member)
    later('ZREM', q.deadlines, member)
    if q == input then
        clear_stop(gid, uid, index)
        if lined_from then
            fair_line().end_run(gid, index)
        end
    end
    local key = (q == own and 'o' or 'p') .. gid .. SEP .. uid
    local sum = ended[key] or { q = q, gid = gid, uid = uid, count = 0 }
    sum.count = sum.count + 1
    ended[key] = sum
end

-- Take a released, paused or passed-over entry out of this group's books.
local function end_wait(q, gid, index)
    local member = gid .. SEP .. padded(index)
    redis.call('ZREM', q.released, member)
    pausing().finish(q, member)
    if redis.call('ZREM', q.skipped, member) == 1 then
        group_sum(q, gid, 'skipped', -1)
    end
end

-- Forget groups without members, {group = true}: all together, as their fields are found by looking
-- at every field.
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
        groups.any_repeated = redis.call('EXISTS', q.repeated_ids) == 1
        groups_read[q] = groups
    end
    return groups
end
