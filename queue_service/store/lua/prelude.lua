-- prelude: what every verb knows of the stored format; put before each verb's own file.
--
-- keys     1..14   the queue that the verb is about      (see keys.py for what each holds)
--          15..28  the other queue of the same service
-- argv     1  channel of the service's doorbells
--          2  role of the queue, "input" or "sink"
--          3  role of the other queue
local SEP = '\31'
local channel, role, peer_role = ARGV[1], ARGV[2], ARGV[3]

local function queue(offset)
    return {
        lanes = { [0] = KEYS[offset + 1], [1] = KEYS[offset + 2] },
        meta = KEYS[offset + 3], request_ids = KEYS[offset + 4],
        deliveries = KEYS[offset + 5], holds = KEYS[offset + 6],
        released = KEYS[offset + 7], skipped = KEYS[offset + 8],
        done = KEYS[offset + 9], groups = KEYS[offset + 10],
        members = KEYS[offset + 11], leases = KEYS[offset + 12],
        subscribers = KEYS[offset + 13], taken = KEYS[offset + 14],
    }
end
local own, peer = queue(0), queue(14)

local function now_ms()
    local time = redis.call('TIME')
    return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function ring(which)
    redis.call('PUBLISH', channel, which)
end

-- Indexes are text: a Lua number would lose the digits above 2^53.  Members of the
-- lexicographic sets carry them with leading zeros, so that their order is the queue's.
local function padded(index)
    return string.rep('0', 20 - #index) .. index
end

local function unpadded(digits)
    return (string.gsub(digits, '^0+', ''))
end

local function length(q)
    return redis.call('XLEN', q.lanes[0]) + redis.call('XLEN', q.lanes[1])
end

-- An entry's fields, in the order in which put.lua writes them.
local REQUEST_ID, TAGS, STORED_AT, DATA, PATH, CONTENT_TYPE = 2, 4, 6, 8, 10, 12

local function read(q, index, lane)
    local id = index .. '-0'
    for number = lane or 1, lane or 0, -1 do
        local found = redis.call('XRANGE', q.lanes[number], id, id)
        if found[1] then
            return found[1][2], number
        end
    end
    return nil
end

-- A delivery record: attempt, lane, state, request id, user.
-- States: h held; r released; j rejected by the user; o released but reserved for the user.
local function record_of(q, gid, index)
    local text = redis.call('HGET', q.deliveries, gid .. SEP .. index)
    if not text then
        return nil
    end
    local attempt, lane, state, request_id, uid =
        string.match(text, '^(%d+):(%d):(%a):([^\31]*)\31(.*)$')
    return {
        attempt = tonumber(attempt), lane = tonumber(lane), state = state,
        request_id = request_id, uid = uid,
    }
end

local function write_record(q, gid, index, record)
    redis.call('HSET', q.deliveries, gid .. SEP .. index, record.attempt .. ':' .. record.lane
        .. ':' .. record.state .. ':' .. record.request_id .. SEP .. record.uid)
end

local function group_sum(q, gid, name, by)
    return redis.call('HINCRBY', q.groups, gid .. SEP .. name, by)
end

local function group_value(q, gid, name)
    return tonumber(redis.call('HGET', q.groups, gid .. SEP .. name) or 0)
end

-- How many entries this group has neither in hand, nor behind it, nor passed over.
local function waiting(q, gid)
    local sums = redis.call('HMGET', q.groups,
        gid .. SEP .. 'held', gid .. SEP .. 'done', gid .. SEP .. 'skipped')
    return length(q) - tonumber(sums[1] or 0) - tonumber(sums[2] or 0) - tonumber(sums[3] or 0)
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
    redis.call('ZREM', q.holds, gid .. SEP .. uid .. SEP .. padded(index))
    local key = (q == own and 'o' or 'p') .. gid .. SEP .. uid
    local sum = ended[key] or { q = q, gid = gid, uid = uid, count = 0 }
    sum.count = sum.count + 1
    ended[key] = sum
end

-- Take a released or passed-over entry out of this group's books.
local function end_wait(q, gid, index)
    local member = gid .. SEP .. padded(index)
    redis.call('ZREM', q.released, member)
    if redis.call('ZREM', q.skipped, member) == 1 then
        group_sum(q, gid, 'skipped', -1)
    end
end

local sink_space = false

-- Remove an entry for all groups.  Returns its fields, or nil when there was none.
local function remove(q, index, lane)
    local fields, number = read(q, index, lane)
    if not fields then
        return nil
    end
    redis.call('XDEL', q.lanes[number], index .. '-0')

    local request_id = fields[REQUEST_ID]
    local indexes = redis.call('HGET', q.request_ids, request_id)
    if indexes == index then
        redis.call('HDEL', q.request_ids, request_id)
    elseif indexes then
        local rest = {}
        for other in string.gmatch(indexes, '%d+') do
            if other ~= index then
                rest[#rest + 1] = other
            end
        end
        redis.call('HSET', q.request_ids, request_id, table.concat(rest, ','))
    end

    for _, gid in ipairs(redis.call('HKEYS', q.members)) do
        local record = record_of(q, gid, index)
        if record then
            redis.call('HDEL', q.deliveries, gid .. SEP .. index)
        end
        if record and record.state == 'h' then
            end_hold(q, gid, record.uid, index)
        else
            end_wait(q, gid, index)
        end
        if redis.call('HDEL', q.done, gid .. SEP .. index) == 1 then
            group_sum(q, gid, 'done', -1)
        end
    end
    redis.call('ZREM', q.taken, index)
    if (q == own and role or peer_role) == 'sink' then
        sink_space = true
    end
    return fields
end

-- A group owes an entry when it has not committed it and somebody may still read for it:
-- it has members, or it is the workers' own group, which stays while no worker is there.
local function owed_by_another(q, gid, index)
    if redis.call('HLEN', q.members) <= 1 then
        return false
    end
    local members = redis.call('HGETALL', q.members)
    for position = 1, #members, 2 do
        local other = members[position]
        if other ~= gid
            and (tonumber(members[position + 1]) > 0 or group_value(q, other, 'resident') == 1)
            and redis.call('HEXISTS', q.done, other .. SEP .. index) == 0
        then
            return true
        end
    end
    return false
end

-- This group is done with the entry; it goes when no other group owes it.
local function finish(q, gid, index, lane)
    if not owed_by_another(q, gid, index) then
        return remove(q, index, lane)
    end
    local record = record_of(q, gid, index)
    local fields = read(q, index, lane)
    if not fields then
        return nil
    end
    if record then
        redis.call('HDEL', q.deliveries, gid .. SEP .. index)
    end
    if record and record.state == 'h' then
        end_hold(q, gid, record.uid, index)
    else
        end_wait(q, gid, index)
    end
    if redis.call('HSET', q.done, gid .. SEP .. index, 1) == 1 then
        group_sum(q, gid, 'done', 1)
    end
    return fields
end

-- Append an entry under the next index.  The caller has checked that there is room.
local function append(q, lane, fields)
    local index = tostring(redis.call('HINCRBY', q.meta, 'last', 1))
    redis.call('XADD', q.lanes[lane], index .. '-0', unpack(fields))
    if redis.call('HSETNX', q.request_ids, fields[REQUEST_ID], index) == 0 then
        local before = redis.call('HGET', q.request_ids, fields[REQUEST_ID])
        redis.call('HSET', q.request_ids, fields[REQUEST_ID], before .. ',' .. index)
    end
    return index
end

local function oldest(q)
    local first
    for number = 0, 1 do
        local found = redis.call('XRANGE', q.lanes[number], '-', '+', 'COUNT', 1)
        if found[1] then
            local index = string.match(found[1][1], '^%d+')
            if not first or tonumber(index) < tonumber(first) then
                first = index
            end
        end
    end
    return first
end

-- The delivery has ended without a commit: the entry goes out again, lowest index first.
local function put_back(q, gid, index, record, state)
    end_hold(q, gid, record.uid, index)
    record.state = state
    write_record(q, gid, index, record)
    redis.call('ZADD', q.released, 0, gid .. SEP .. padded(index))
end

-- A filter is {from = lowest index, request_id = text or nil, tags = {name = text}}.
local function matches(filter, index, fields)
    if tonumber(index) < filter.from then
        return false
    end
    if filter.request_id and filter.request_id ~= fields[REQUEST_ID] then
        return false
    end
    if next(filter.tags) then
        local tags = cjson.decode(fields[TAGS])
        for name, value in pairs(filter.tags) do
            if tags[name] ~= value then
                return false
            end
        end
    end
    return true
end

-- Write the sums that this call changed, and ring where somebody may now be served.
local function settle()
    for _, sum in pairs(ended) do
        local subscriber = sum.gid .. SEP .. sum.uid .. SEP
        local old = redis.call('HMGET', sum.q.subscribers,
            subscriber .. 'window', subscriber .. 'held')
        if old[1] then
            set_subscriber(sum.q, sum.gid, sum.uid, tonumber(old[1]),
                math.max(0, tonumber(old[2]) - sum.count))
        end
        if waiting(sum.q, sum.gid) > 0 then
            -- Other replicas may hold the connection whose window this has opened.
            ring((sum.q == own and role or peer_role) .. ' windows')
        end
    end
    ended = {}
    local input = role == 'input' and own or peer
    if sink_space and redis.call('HDEL', input.meta, 'blocked') == 1 then
        ring('input')
    end
end

-- Forget a subscriber; whatever it held was put back before.
local function forget_subscriber(q, gid, uid, now)
    local subscriber = gid .. SEP .. uid
    set_subscriber(q, gid, uid, 0, 0)
    for _, name in ipairs({ 'window', 'held', 'session', 'filter', 'about', 'reserved' }) do
        redis.call('HDEL', q.subscribers, subscriber .. SEP .. name)
    end
    redis.call('ZREM', q.leases, subscriber)
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

-- Put everything back that a subscriber holds.  Returns how many that were.
local function release_all(q, gid, uid)
    local prefix = gid .. SEP .. uid .. SEP
    local members = redis.call('ZRANGEBYLEX', q.holds, '[' .. prefix, '(' .. gid .. SEP .. uid .. ' ')
    for _, member in ipairs(members) do
        local index = unpadded(string.sub(member, #prefix + 1))
        put_back(q, gid, index, record_of(q, gid, index), 'r')
    end
    return #members
end
