-- deliver: hand entries to subscribers of one group that have room.
--
-- argv     4  group
--          5  bytes after which this call delivers no more
--          then for each subscriber, the emptiest-handed first: user, session, room asked
-- returns  {entries still waiting, then for each subscriber
--          {"ok", "lost" or "taken" over, how many it holds now, {index, attempt, lane, request id, tags, stored at, data, path,
--          content type, different workers' engines that died on it, the request's own retry policy
--          or "", "1" when it is to run alone, "1" when other owners have something to do too}...}}
write_although_full()
local gid, bytes_left, max_delivery = ARGV[4], tonumber(ARGV[5]), rules().max_delivery
local SCAN_LIMIT = 1000 -- entries that a filter may pass over in one call
local scan_left = SCAN_LIMIT
local set_aside = false
local deadline = rules().max_idle_ms > 0 and now_ms() + rules().max_idle_ms
-- Whether this group takes new entries from lines, and what it knows of each owner.
local lined = lined_from and role == 'input' and gid == rules().workers_gid
local owners = lined and fair_line().accounts()
-- Whose entries this group sees; "" sees all.
local reader = owner_of(gid)

local left = waiting(own, gid)
-- A sink that drops its oldest entry for a new one always has room.
local is_sink_bound = role == 'input' and not rules().sink_evicts
local sink_room = math.huge
if is_sink_bound then
    sink_room = rules().sink_capacity - length(peer) - tonumber(redis.call('HGET', own.meta, 'held') or 0)
end

-- One that was put back before it was handed out too often, by the limit of that time.
local function end_now(index, record)
    local outcome = end_by_policy(gid, index, record, 'MaxDelivery')
    if outcome ~= 'reared' then
        left = left - 1
    end
    if outcome == 'parked' or outcome == 'answered' then
        sink_room = sink_room - 1
    end
end

-- This subscriber's filter does not want the entry.  Where others of the group have another
-- filter it waits for them among the released; else nobody of the group looks at it again.
local function pass_over(index, line)
    local function done_by_any(index)
        local groups = groups_of(own)
        for _, other in ipairs(groups.any_done and groups.gids or {}) do
            if redis.call('HEXISTS', own.done, other .. SEP .. index) == 1 then
                return true
            end
        end
        return false
    end

    scan_left = scan_left - 1
    local member = gid .. SEP .. padded(index)
    if line.mixed and tonumber(index) >= line.floor then
        set_aside = redis.call('ZADD', own.released, 0, member) == 1 or set_aside
        return
    end
    left = left - 1
    redis.call('ZREM', own.released, member)
    redis.call('ZADD', own.skipped, 0, member)
    group_sum(own, gid, 'skipped', 1)
    if done_by_any(index) and not owed_by_another(own, gid, index) then
        remove(own, index)
    end
end

-- The record of an entry that nobody of this group has had.
local function new_record(fields, lane)
    return { attempt = 0, lane = lane, state = 'r', request_id = fields[REQUEST_ID], uid = '',
        tags = fields[TAGS] }
end

-- Whose turn it is.  least: what that owner has used, until the next entry is handed out.
local turns = { heads = {}, least = nil }

local function hand_over(batch, uid, index, fields, record)
    local deaths, retry, alone = 0, '', record.state == 'a'
    if record.attempt > 0 or record.state == 'j' then
        deaths = #deaths_of(own, gid, index).uids
    end
    record.attempt, record.state, record.uid = record.attempt + 1, 'h', uid
    write_record(own, gid, index, record)
    if role == 'input' and may_have_ticket(fields[TAGS]) then
        local ticket = begin_ticket(fields[REQUEST_ID], uid, record.attempt, now_ms())
        retry = ticket and ticket.retry or ''
    end
    local member = gid .. SEP .. uid .. SEP .. padded(index)
    later('ZADD', own.holds, 0, member)
    if deadline then
        later('ZADD', own.deadlines, deadline, member)
    end
    batch[#batch + 1] = { index, record.attempt, record.lane, fields[REQUEST_ID], fields[TAGS],
        fields[STORED_AT], fields[DATA], fields[PATH], fields[CONTENT_TYPE], deaths, retry,
        alone and '1' or '0', lined and fair_line().has_rivals(fair_line().owner_of(fields)) and '1' or '0' }
    if lined then
        turns.least = nil
        fair_line().begin_run(gid, index, fair_line().owner_of(fields), now_ms())
    end
    left, sink_room = left - 1, sink_room - 1
    bytes_left = bytes_left - #fields[DATA] - #fields[TAGS]
end

local function may_go_on(batch, room)
    return #batch - 2 < room and sink_room > 0 and bytes_left > 0 and scan_left > 0
end

-- Whether this user may have a released entry now: a rejected one goes to somebody else
-- first, a reserved one to its own user while that one lives, and one that is to run alone to its own
-- user while that one takes anything.  Its engine may load for minutes, or not come back.
local function may_have(record, uid, others)
    if record.state == 'j' then
        return record.uid ~= uid or not others
    elseif record.state == 'a' and record.uid ~= uid then
        local window = redis.call('HGET', own.subscribers,
            gid .. SEP .. record.uid .. SEP .. 'window')
        return tonumber(window or 0) == 0
    elseif record.state == 'o' and record.uid ~= uid then
        local reserved = redis.call('HGET', own.subscribers,
            gid .. SEP .. record.uid .. SEP .. 'reserved')
        return tonumber(reserved or 0) == 0
    end
    return true
end

-- The water level does not bind what was this user's already, nor what another gave back: the
-- emptiest one may be the very one that may not have it.
local function is_beyond_level(record, uid)
    local is_own = record.state == 'o' or record.state == 'a'
    return is_own and record.uid == uid or record.state == 'j' and record.uid ~= uid
end

-- How many results each owner has in the sink, and whether one waits for room there.
local shares_of_sink = { results = {}, held_back = false }

-- Whether an owner may have one more running: by its own limit, and as long as the results that it
-- leaves in the sink leave room for those of others.
local function is_below_most(fields)
    if not lined or not fields then
        return true
    end
    local owner, most = fair_line().owner_of(fields)
    if owner == '' then
        return true
    end
    local runs, name = fair_line().account_of(owner).runs, owner_of(fields[REQUEST_ID])
    if most > 0 and runs >= most then
        return false
    end
    if is_sink_bound and name ~= '' then
        local results = shares_of_sink.results
        results[name] = results[name] or length_for(sink, name)
        if not quotas().may_have_result(results[name] + runs, sink_room) then
            shares_of_sink.held_back = true
            return false
        end
    end
    return true
end

-- Whether a released entry may go now.  To fail is no reason to go before other owners' entries: what
-- failed waits for its owner's turn, and goes first then.  What a worker that was lost or that leaves
-- has had goes before all.
function turns.is_come(index, record, fields)
    if not lined or not fields or not rules().fair or record.state ~= 'j'
        or record.attempt == 0 and deaths_of(own, gid, index).most == 0 then
        return true
    end
    if not turns.least then
        turns.least = select(2, turns.next_owner(0)) or math.huge
    end
    return fair_line().share_of_owner((fair_line().owner_of(fields)), now_ms()) <= turns.least
end

local function deliver_released(batch, uid, room, line, only_reserved)
    -- Some that this user may not have may lie in front: look a little further.
    local members = redis.call('ZRANGEBYLEX', own.released,
        '[' .. gid .. SEP, '(' .. gid .. ' ', 'LIMIT', 0,
        math.max(0, room) + ((line.mixed or lined) and SCAN_LIMIT or 64))
    for _, member in ipairs(members) do
        if not may_go_on(batch, line.window_room) then
            return
        end
        local index = unpadded(string.sub(member, #gid + 2))
        local record = record_of(own, gid, index)
        local fields, lane = read(own, index, record and record.lane)
        record = record or new_record(fields, lane)
        local fits = is_beyond_level(record, uid) or #batch - 2 < room
        if only_reserved then
            fits = record.state == 'o' and record.uid == uid
        end
        if fits and may_have(record, uid, line.others)
            and is_below_most(fields) and turns.is_come(index, record, fields)
        then
            if line.filter and not matches(line.filter, index, fields) then
                pass_over(index, line)
            elseif max_delivery > 0 and record.attempt >= max_delivery then
                end_now(index, record)
            else
                redis.call('ZREM', own.released, member)
                if lined and fields then
                    fair_line().go_again(index, fields)
                end
                hand_over(batch, uid, index, fields, record)
            end
        end
    end
end

-- Those that the cursor has not seen, up to `bound`, which is "+" or where the lines begin.
local function deliver_unseen(batch, uid, room, line, lane, bound)
    local cursor_field = gid .. SEP .. 'cursor' .. lane
    local cursor = redis.call('HGET', own.groups, cursor_field) or '0'
    local start = cursor
    local any_done = group_value(own, gid, 'done') > 0
    while may_go_on(batch, room) do
        local count = math.min(room - (#batch - 2), sink_room, 100)
        local found = reader ~= '' and lists().from(own, reader, lane, '(', cursor, count)
            or redis.call('XRANGE', own.lanes[lane], '(' .. cursor .. '-0', bound, 'COUNT', count)
        for _, item in ipairs(found) do
            if not may_go_on(batch, room) then
                break
            end
            local index, fields = string.match(item[1], '^%d+'), item[2]
            cursor = index
            if any_done and redis.call('HEXISTS', own.done, gid .. SEP .. index) == 1 then
                scan_left = scan_left - 1
            elseif not line.filter or matches(line.filter, index, fields) then
                hand_over(batch, uid, index, fields, new_record(fields, lane))
            else
                pass_over(index, line)
            end
        end
        if #found < count then
            if bound ~= '+' then
                cursor = string.format('%.0f', math.max(tonumber(lined_from) - 1, tonumber(cursor)))
            end
            break
        end
    end
    if cursor ~= start then
        redis.call('HSET', own.groups, cursor_field, cursor)
    end
end

-- The first index of an owner's line in a lane.
function turns.head_of(owner, lane)
    local from = owner .. SEP .. lane .. SEP
    local head = turns.heads[from]
    if not head then
        local beyond = owner .. SEP .. lane .. ' '
        local member =
            redis.call('ZRANGEBYLEX', lines, '[' .. from, '(' .. beyond, 'LIMIT', 0, 1)[1]
        if not member then
            return nil
        end
        local index = unpadded(string.sub(member, #from + 1))
        local fields = read(own, index, lane)
        head = { index = index, member = member, fields = fields, lane = lane,
            urgent = owner == '' or fields and is_urgent(fields) }
        turns.heads[from] = head
    end
    return head
end

-- What an owner would be served in a lane, and the index by which it waits.  A priority that may not
-- go before other owners' entries goes before the owner's own, when its turn is in lane 0.
function turns.next_of(owner, account, lane)
    local first = account.waiting[1] > 0 and turns.head_of(owner, 1)
    if lane == 1 then
        return first and first.urgent and first, first and tonumber(first.index)
    end
    local head = account.waiting[0] > 0 and turns.head_of(owner, 0)
    if not first or first.urgent then
        return head, head and tonumber(head.index)
    end
    local since = tonumber(first.index)
    return first, head and math.min(since, tonumber(head.index)) or since
end

-- The owner whose turn it is: of those that wait and may have one more, the one that has used
-- least; where shares do not count, the one that waits longest.
function turns.next_owner(lane)
    local now, chosen, least, fewest = now_ms(), nil, nil, nil
    for owner, account in pairs(owners) do
        local head, since = turns.next_of(owner, account, lane)
        if head and is_below_most(head.fields) then
            local share = rules().fair and fair_line().share_of(account, now) or since
            if not least or share < least or share == least and (account.runs < fewest
                or account.runs == fewest and owner < chosen)
            then
                chosen, least, fewest = owner, share, account.runs
            end
        end
    end
    return chosen, least
end

-- Take the head of an owner's line.
function turns.deliver_head(batch, uid, line, owner, head)
    local lane = head.lane
    turns.heads[owner .. SEP .. lane .. SEP] = nil
    fair_line().take(owner, lane, head.member)
    if not head.fields then
        return
    elseif line.filter and not matches(line.filter, head.index, head.fields) then
        pass_over(head.index, line)
        return
    end
    fair_line().serve(owner)
    hand_over(batch, uid, head.index, head.fields, new_record(head.fields, lane))
end

local function deliver_from_lines(batch, uid, room, line, lane)
    local bound = '(' .. lined_from .. '-0'
    local unseen = fair_line().has_unseen(lane)
    while may_go_on(batch, room) do
        local owner, least = turns.next_owner(lane)
        if unseen and (not owner or not rules().fair
            or fair_line().share_of(owners[''], now_ms()) <= least)
        then
            local before = #batch
            fair_line().serve('')
            deliver_unseen(batch, uid, math.min(room, before - 1), line, lane, bound)
            unseen = #batch > before
        elseif owner then
            turns.deliver_head(batch, uid, line, owner, (turns.next_of(owner, owners[owner], lane)))
        else
            return
        end
    end
end

local function deliver_new(batch, uid, room, line, lane)
    if lined then
        deliver_from_lines(batch, uid, room, line, lane)
    else
        deliver_unseen(batch, uid, room, line, lane, '+')
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
    if left <= 0 or sink_room <= 0 or bytes_left <= 0 then
        return { 'ok', held }
    end

    -- The water level: nobody takes more than its share while others have room.
    local sums = redis.call('HMGET', own.groups, gid .. SEP .. 'roomy', gid .. SEP .. 'roomy_held',
        gid .. SEP .. 'floor')
    local roomy = math.max(1, tonumber(sums[1] or 0))
    local level = math.ceil((left + tonumber(sums[2] or 0)) / roomy)
    local line = {
        filter = known[4] ~= '' and cjson.decode(known[4]) or nil,
        mixed = sums[3], floor = tonumber(sums[3] or 0),
        window_room = math.min(asked, window - held), others = roomy > 1,
    }
    -- With several filters in a group the others' room may be for other entries than these.
    local room = line.mixed and line.window_room or math.min(line.window_room, level - held)

    local batch = { 'ok', held }
    if tonumber(known[5]) > 0 then
        deliver_released(batch, uid, line.window_room, line, true)
        if may_go_on(batch, line.window_room) then
            redis.call('HSET', own.subscribers, subscriber .. 'reserved', 0)
        end
    end
    deliver_released(batch, uid, room, line, false)
    deliver_new(batch, uid, room, line, 1)
    deliver_new(batch, uid, room, line, 0)
    if #batch > 2 then
        batch[2] = held + #batch - 2
        set_subscriber(own, gid, uid, window, batch[2])
    end
    return batch
end

local reply = { 0 }
for position = 6, #ARGV, 3 do
    reply[#reply + 1] = deliver_to(ARGV[position], ARGV[position + 1], tonumber(ARGV[position + 2]))
end
if left > 0 and (sink_room <= 0 or shares_of_sink.held_back) then
    -- Whoever makes room in the sink rings for us.
    redis.call('HSET', own.meta, 'blocked', 1)
end
reply[1] = left
settle()
if set_aside or (left > 0 and scan_left <= 0) then
    -- There is more to look at: for others, or behind what a filter has passed over.
    ring(role)
end
return reply
