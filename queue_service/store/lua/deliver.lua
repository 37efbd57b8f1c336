-- deliver: hand entries to subscribers of one group that have room.
--
-- argv     4  group
--          5  sink capacity in entries; "-1" when the sink does not bound this queue
--          6  most hand-outs of one entry, "0" without limit
--          7  dead-letter policy, "Rear" or "Drop"
--          8  bytes after which this call hands out no more
--          then for each subscriber, the emptiest-handed first: user, session, room asked
-- returns  {entries still waiting, dead letters, then for each subscriber
--          {"ok", "lost" or "taken" over, how many it holds now, {index, attempt, lane, request id, tags, stored at, data, path,
--          content type}...}}
local gid, sink_capacity = ARGV[4], tonumber(ARGV[5])
local max_delivery, policy, bytes_left = tonumber(ARGV[6]), ARGV[7], tonumber(ARGV[8])
local SCAN_LIMIT = 1000 -- entries that a filter may pass over in one call
local scan_left = SCAN_LIMIT
local dead_letters = 0

local left = waiting(own, gid)
local sink_room = math.huge
if sink_capacity >= 0 then
    sink_room = sink_capacity - length(peer) - tonumber(redis.call('HGET', own.meta, 'held') or 0)
end

local function bury(index, record)
    dead_letters = dead_letters + 1
    redis.call('HINCRBY', own.meta, 'dead_letters', 1)
    local fields, lane = read(own, index, record.lane)
    local finished = {}
    for _, other in ipairs(groups_of(own).gids) do
        if redis.call('HEXISTS', own.done, other .. SEP .. index) == 1 then
            finished[#finished + 1] = other
        end
    end
    remove(own, index, lane, record.request_id)
    if policy ~= 'Rear' then
        left = left - 1
        return
    end
    local new_index = append(own, lane, fields)
    for _, other in ipairs(finished) do
        redis.call('HSET', own.done, other .. SEP .. new_index, 1)
        group_sum(own, other, 'done', 1)
    end
end

local function pass_over(index)
    scan_left = scan_left - 1
    left = left - 1
    redis.call('ZREM', own.released, gid .. SEP .. padded(index))
    redis.call('ZADD', own.skipped, 0, gid .. SEP .. padded(index))
    group_sum(own, gid, 'skipped', 1)
end

local function hand_over(batch, uid, index, fields, record)
    record.attempt, record.state, record.uid = record.attempt + 1, 'h', uid
    write_record(own, gid, index, record)
    later('ZADD', own.holds, 0, gid .. SEP .. uid .. SEP .. padded(index))
    batch[#batch + 1] = { index, record.attempt, record.lane, fields[REQUEST_ID], fields[TAGS],
        fields[STORED_AT], fields[DATA], fields[PATH], fields[CONTENT_TYPE] }
    left, sink_room = left - 1, sink_room - 1
    bytes_left = bytes_left - #fields[DATA] - #fields[TAGS]
end

local function may_go_on(batch, room)
    return #batch - 2 < room and sink_room > 0 and bytes_left > 0 and scan_left > 0
end

-- Whether this user may have a released entry now: a rejected one goes to somebody else
-- first, a reserved one to its own user while that one lives.
local function may_have(record, uid, others)
    if record.state == 'j' then
        return record.uid ~= uid or not others
    elseif record.state == 'o' and record.uid ~= uid then
        local reserved = redis.call('HGET', own.subscribers,
            gid .. SEP .. record.uid .. SEP .. 'reserved')
        return tonumber(reserved or 0) == 0
    end
    return true
end

local function deliver_released(batch, uid, room, filter, others, only_reserved)
    -- Some that this user may not have may lie in front: look a little further.
    local members = redis.call('ZRANGEBYLEX', own.released,
        '[' .. gid .. SEP, '(' .. gid .. ' ', 'LIMIT', 0, room + 64)
    for _, member in ipairs(members) do
        if not may_go_on(batch, room) then
            return
        end
        local index = unpadded(string.sub(member, #gid + 2))
        local record = record_of(own, gid, index)
        local fields = read(own, index, record.lane)
        local fits = record.state == 'o' and record.uid == uid or not only_reserved
        if fits and may_have(record, uid, others) then
            if filter and not matches(filter, index, fields) then
                pass_over(index)
            elseif max_delivery > 0 and record.attempt >= max_delivery then
                bury(index, record)
            else
                redis.call('ZREM', own.released, member)
                hand_over(batch, uid, index, fields, record)
            end
        end
    end
end

local function deliver_new(batch, uid, room, filter, lane)
    local cursor_field = gid .. SEP .. 'cursor' .. lane
    local cursor = redis.call('HGET', own.groups, cursor_field) or '0'
    local start = cursor
    local any_done = group_value(own, gid, 'done') > 0
    while may_go_on(batch, room) do
        local count = math.min(room - (#batch - 2), sink_room, 100)
        local found = redis.call('XRANGE', own.lanes[lane], '(' .. cursor .. '-0', '+', 'COUNT', count)
        for _, item in ipairs(found) do
            if not may_go_on(batch, room) then
                break
            end
            local index, fields = string.match(item[1], '^%d+'), item[2]
            cursor = index
            if any_done and redis.call('HEXISTS', own.done, gid .. SEP .. index) == 1 then
                scan_left = scan_left - 1
            elseif not filter or matches(filter, index, fields) then
                hand_over(batch, uid, index, fields, {
                    attempt = 0, lane = lane, state = 'h',
                    request_id = fields[REQUEST_ID], uid = uid, tags = fields[TAGS],
                })
            else
                pass_over(index)
            end
        end
        if #found < count then
            break
        end
    end
    if cursor ~= start then
        redis.call('HSET', own.groups, cursor_field, cursor)
    end
end

local function deliver_to(uid, session, asked)
    local subscriber = gid .. SEP .. uid .. SEP
    local known = redis.call('HMGET', own.subscribers, subscriber .. 'session',
        subscriber .. 'window', subscriber .. 'held', subscriber .. 'filter',
        subscriber .. 'reserved')
    if known[1] ~= session then
        return { known[1] and known[1] ~= '' and 'taken' or 'lost', 0 }
    end
    local window, held = tonumber(known[2]), tonumber(known[3])
    local filter = known[4] ~= '' and cjson.decode(known[4]) or nil

    -- The water level: nobody takes more than its share while others have room.
    local sums = redis.call('HMGET', own.groups, gid .. SEP .. 'roomy', gid .. SEP .. 'roomy_held')
    local roomy = math.max(1, tonumber(sums[1] or 0))
    local level = math.ceil((left + tonumber(sums[2] or 0)) / roomy)
    local room = math.min(asked, window - held, level - held)

    local batch = { 'ok', held }
    if tonumber(known[5]) > 0 then
        -- These were this user's already: its window bounds them, the level does not.
        deliver_released(batch, uid, math.min(asked, window - held), filter, false, true)
        if #batch - 2 < math.min(asked, window - held) then
            redis.call('HSET', own.subscribers, subscriber .. 'reserved', 0)
        end
    end
    deliver_released(batch, uid, room, filter, roomy > 1, false)
    deliver_new(batch, uid, room, filter, 1)
    deliver_new(batch, uid, room, filter, 0)
    if #batch > 2 then
        batch[2] = held + #batch - 2
        set_subscriber(own, gid, uid, window, batch[2])
    end
    return batch
end

local reply = { 0, 0 }
for position = 9, #ARGV, 3 do
    reply[#reply + 1] = deliver_to(ARGV[position], ARGV[position + 1], tonumber(ARGV[position + 2]))
end
if left > 0 and sink_room <= 0 then
    -- Whoever makes room in the sink rings for us.
    redis.call('HSET', own.meta, 'blocked', 1)
end
reply[1], reply[2] = left, dead_letters
settle()
return reply
