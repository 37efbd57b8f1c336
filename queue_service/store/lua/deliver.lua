-- deliver: deliver entries to subscribers of one group that have room.
-- uses: bulk, contents, dead_letter_policy, entries, groups, heads, lines, lists, owners, quotas,
--       reads, records, released, rules, tickets, usage, writes
-- writes
--
-- argv     4  group
--          5  bytes after which this call delivers no more
--          then for each subscriber, those that hold least first: user, session, most entries
-- returns  {entries still waiting, "full" when unread results stop deliveries from now on, "room" when they
--          do so no longer, else "", then for each subscriber {"ok", "lost" or "taken" over, entries
--          that it holds now, {index, attempt, lane, request id, tags, stored at, data, path, content
--          type, number of workers whose engine died on it, the request's own retry policy or "",
--          "1" when it runs alone, "1" when other owners have entries too}...}}
write_although_full()
local gid, bytes_left, max_delivery = ARGV[4], tonumber(ARGV[5]), Rules.max_delivery
local SCAN_LIMIT = 1000 -- entries that a filter may skip in one call
local scan_left, set_aside = SCAN_LIMIT, false
local deadline = Rules.max_idle_ms > 0 and now_ms() + Rules.max_idle_ms
local uses_lines = lines_from and role == 'input' and gid == Rules.workers_gid
local owners = uses_lines and Lines.accounts()
-- The owner whose entries this group sees; "" sees all.
local reader = Owners.owner_of(gid)

local left = role == 'input' and (paused_at or not Rules.open) and 0 or Groups.waiting(own, gid)
-- A sink that drops its oldest entry for a new one always has room.
local is_sink_bound = role == 'input' and not Rules.sink_evicts
local sink_room = math.huge
if is_sink_bound then
    sink_room = math.floor(Contents.sink_room() / Rules.result_places)
    if sink_room < left then
        sink_room = Reads.room_for(left, 8, 3)
    end
end

-- An entry that was put back under a higher `max_delivery` and has used up the present one.
local function end_now(index, record)
    local outcome = DeadLetterPolicy.end_by_policy(gid, index, record, 'MaxDelivery')
    if outcome ~= 'reared' then
        left = left - 1
    end
    if outcome == 'parked' or outcome == 'answered' then
        sink_room = sink_room - 1
    end
end

-- This subscriber's filter does not match the entry.  If others of the group have another filter,
-- the entry waits for them among the released ones; otherwise the group does not look at it again.
local function pass_over(index, subscriber)
    local function done_by_any(index)
        local groups = Groups.groups_of(own)
        for _, other in ipairs(groups.any_done and groups.gids or {}) do
            if redis.call('HEXISTS', own.done, other .. SEP .. index) == 1 then
                return true
            end
        end
        return false
    end

    scan_left = scan_left - 1
    local member = gid .. SEP .. padded(index)
    if subscriber.mixed and tonumber(index) >= subscriber.floor then
        set_aside = redis.call('ZADD', own.released, 0, member) == 1 or set_aside
        return
    end
    left = left - 1
    redis.call('ZREM', own.released, member)
    redis.call('ZADD', own.skipped, 0, member)
    Groups.group_sum(own, gid, 'skipped', 1)
    if done_by_any(index) and not Entries.owed_by_another(own, gid, index) then
        Entries.remove(own, index)
    end
end

-- The record of an entry that this group has not received yet.
local function new_record(fields, lane)
    return { attempt = 0, lane = lane, state = 'r', request_id = fields[REQUEST_ID], uid = '',
        tags = fields[TAGS] }
end

-- Which owner is next.  least: what that owner has used, until the next entry is delivered.
local turns = { least = nil, bulk_is_blocked = false }

local function deliver_entry(batch, uid, index, fields, record)
    local deaths, retry, alone = 0, '', record.state == 'a'
    if record.attempt > 0 or record.state == 'j' then
        deaths = #Records.deaths_of(own, gid, index).uids
    end
    Usage.begin_run(gid, index, record, fields)
    record.attempt, record.state, record.uid = record.attempt + 1, 'h', uid
    Records.write_record(own, gid, index, record)
    if role == 'input' and Tickets.may_have_ticket(fields[TAGS]) then
        local ticket = Tickets.begin_ticket(fields[REQUEST_ID], uid, record.attempt, now_ms())
        retry = ticket and ticket.retry or ''
    end
    local member = gid .. SEP .. uid .. SEP .. padded(index)
    Writes.later('ZADD', own.holds, 0, member)
    if deadline then
        Writes.later('ZADD', own.deadlines, deadline, member)
    end
    batch[#batch + 1] = { index, record.attempt, record.lane, fields[REQUEST_ID], fields[TAGS],
        fields[STORED_AT], fields[DATA], fields[PATH], fields[CONTENT_TYPE], deaths, retry,
        alone and '1' or '0', uses_lines and Lines.has_rivals(Lines.owner_of(fields)) and '1' or '0' }
    if uses_lines then
        turns.least = nil
        Lines.begin_run(gid, index, Lines.owner_of(fields), now_ms())
        Bulk.note_delivery((Lines.owner_of(fields)))
    end
    left, sink_room, bytes_left = left - 1, sink_room - 1, bytes_left - #fields[DATA] - #fields[TAGS]
end

local function may_go_on(batch, room)
    return #batch - 2 < room and sink_room > 0 and bytes_left > 0 and scan_left > 0
end

-- Results of each owner in the sink, and whether one waits for room there.
local shares_of_sink = { results = {}, held_back = false }

-- Whether an owner may run one more entry: its own limit allows it, and its unread results leave
-- room in the sink for those of others.
local function is_below_most(fields)
    if not uses_lines or not fields then
        return true
    end
    local owner, most = Lines.owner_of(fields)
    if owner == '' then
        return true
    end
    local runs, name = Lines.account_of(owner).runs, Owners.owner_of(fields[REQUEST_ID])
    if Bulk.is_bulk(owner) then
        runs = runs + Lines.account_of(Bulk.base_of(owner)).runs
    end
    if Rules.closed_accounts[owner] or most > 0 and runs >= most then
        return false
    end
    if is_sink_bound and name ~= '' then
        local results = shares_of_sink.results
        results[name] = results[name] or Owners.length_for(sink, name)
        local may_have, freed = Quotas.make_share(name, results[name] + runs, sink_room)
        if freed > 0 then
            results[name] = Owners.length_for(sink, name)
            sink_room = sink_room + math.floor(freed / Rules.result_places)
        end
        if not may_have then
            shares_of_sink.held_back = true
            return false
        end
    end
    return true
end

-- Whether a released entry may go now.  A failed entry does not overtake other owners: it waits for
-- its owner's turn, and goes first then.  What a lost or leaving worker held goes before all, but for
-- bulk, which goes when bulk does.
function turns.is_come(index, record, fields)
    if not uses_lines or not fields or not Rules.fair or record.state ~= 'j'
        or record.attempt == 0 and Records.deaths_of(own, gid, index).most == 0 then
        return true
    end
    if not turns.least then
        turns.least = select(2, turns.next_owner(0, false)) or math.huge
    end
    return Lines.share_of_owner((Lines.owner_of(fields)), now_ms()) <= turns.least
end

-- which: "reserved" for what this user held before, "bulk" for bulk, nil for what is not bulk.
local function deliver_released(batch, uid, room, subscriber, which)
    -- Entries that this user may not have may come first: look a little further.
    local members = redis.call('ZRANGEBYLEX', own.released,
        '[' .. gid .. SEP, '(' .. gid .. ' ', 'LIMIT', 0,
        math.max(0, room) + ((subscriber.mixed or uses_lines) and SCAN_LIMIT or 64))
    for _, member in ipairs(members) do
        if not may_go_on(batch, subscriber.window_room) then
            return
        end
        local index = unpadded(string.sub(member, #gid + 2))
        local record = Records.record_of(own, gid, index)
        local fields, lane = read(own, index, record and record.lane)
        record = record or new_record(fields, lane)
        local is_bulk = uses_lines and fields and Bulk.is_bulk((Lines.owner_of(fields)))
        local fits = (Released.is_beyond_level(record, uid) or #batch - 2 < room)
            and (which == 'bulk') == (is_bulk or false)
        if which == 'reserved' then
            fits = record.state == 'o' and record.uid == uid
        end
        if fits and Released.may_have(gid, record, uid, subscriber.others)
            and is_below_most(fields) and (is_bulk or turns.is_come(index, record, fields))
        then
            if subscriber.filter and not Entries.matches(subscriber.filter, index, fields) then
                pass_over(index, subscriber)
            elseif max_delivery > 0 and record.attempt >= max_delivery then
                end_now(index, record)
            else
                redis.call('ZREM', own.released, member)
                if uses_lines and fields then
                    Lines.go_again(index, fields)
                end
                deliver_entry(batch, uid, index, fields, record)
            end
        end
    end
end

-- Deliver entries behind the cursor, up to `bound`: "+" or the index from which on entries wait in
-- lines.
local function deliver_unseen(batch, uid, room, subscriber, lane, bound)
    local cursor_field = gid .. SEP .. 'cursor' .. lane
    local cursor = redis.call('HGET', own.groups, cursor_field) or '0'
    local start = cursor
    local any_done = Groups.group_value(own, gid, 'done') > 0
    while may_go_on(batch, room) do
        local count = math.min(room - (#batch - 2), sink_room, 100)
        local found = reader ~= '' and Lists.from(own, reader, lane, '(', cursor, count)
            or redis.call('XRANGE', own.lanes[lane], '(' .. cursor .. '-0', bound, 'COUNT', count)
        for _, item in ipairs(found) do
            if not may_go_on(batch, room) then
                break
            end
            local index, fields = string.match(item[1], '^%d+'), item[2]
            cursor = index
            if any_done and redis.call('HEXISTS', own.done, gid .. SEP .. index) == 1 then
                scan_left = scan_left - 1
            elseif not subscriber.filter or Entries.matches(subscriber.filter, index, fields) then
                deliver_entry(batch, uid, index, fields, new_record(fields, lane))
            else
                pass_over(index, subscriber)
            end
        end
        if #found < count then
            if bound ~= '+' then
                cursor = string.format('%.0f', math.max(tonumber(lines_from) - 1, tonumber(cursor)))
            end
            break
        end
    end
    if cursor ~= start then
        redis.call('HSET', own.groups, cursor_field, cursor)
    end
end

-- The next owner: of those that wait and may run one more, the one that has used least; without
-- fair shares, the one that has waited longest.
function turns.next_owner(lane, in_bulk)
    local now, chosen, least, fewest = now_ms(), nil, nil, nil
    for owner, account in pairs(owners) do
        local head, since
        if Bulk.is_bulk(owner) == in_bulk then
            head, since = Heads.next_of(owner, account, lane)
        end
        if head and is_below_most(head.fields) then
            local share = Rules.fair and Lines.share_of(account, now) or since
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
function turns.deliver_head(batch, uid, subscriber, owner, head)
    local lane = head.lane
    Heads.forget(owner, lane)
    Lines.take(owner, lane, head.member)
    if not head.fields then
        return
    elseif subscriber.filter and not Entries.matches(subscriber.filter, head.index, head.fields) then
        pass_over(head.index, subscriber)
        return
    end
    if not Bulk.is_bulk(owner) then
        Lines.serve(owner)
    end
    deliver_entry(batch, uid, head.index, head.fields, new_record(head.fields, lane))
end

-- Deliver bulk up to `room`, what was delivered before first.
local function deliver_bulk(batch, uid, room, subscriber)
    deliver_released(batch, uid, room, subscriber, 'bulk')
    while may_go_on(batch, room) do
        local owner = turns.next_owner(0, true)
        if not owner then
            return
        end
        turns.deliver_head(batch, uid, subscriber, owner, Heads.of(owner, 0))
    end
end

-- Bulk has waited long enough: it gets one place.
local function deliver_due_bulk(batch, uid, room, subscriber)
    if uses_lines and not turns.bulk_is_blocked and Bulk.is_due() then
        local before = #batch
        deliver_bulk(batch, uid, math.min(room, before - 1), subscriber)
        -- It may wait for the end of a pause, or for another subscriber.
        turns.bulk_is_blocked = #batch == before
    end
end

local function deliver_from_lines(batch, uid, room, subscriber, lane)
    local bound = '(' .. lines_from .. '-0'
    local unseen = Lines.has_unseen(lane)
    while may_go_on(batch, room) do
        deliver_due_bulk(batch, uid, room, subscriber)
        if not may_go_on(batch, room) then
            return
        end
        local owner, least = turns.next_owner(lane, false)
        if unseen and (not owner or not Rules.fair
            or Lines.share_of(owners[''], now_ms()) <= least)
        then
            local before = #batch
            Lines.serve('')
            deliver_unseen(batch, uid, math.min(room, before - 1), subscriber, lane, bound)
            unseen = #batch > before
        elseif owner then
            turns.deliver_head(batch, uid, subscriber, owner, (Heads.next_of(owner, owners[owner], lane)))
        else
            return
        end
    end
end

local function deliver_new(batch, uid, room, subscriber, lane)
    if uses_lines then
        deliver_from_lines(batch, uid, room, subscriber, lane)
    else
        deliver_unseen(batch, uid, room, subscriber, lane, '+')
    end
end

local function deliver_to(uid, session, asked)
    local prefix = gid .. SEP .. uid .. SEP
    local known = redis.call('HMGET', own.subscribers, prefix .. 'session',
        prefix .. 'window', prefix .. 'held', prefix .. 'filter',
        prefix .. 'reserved', prefix .. 'about')
    if known[1] ~= session then
        return { known[1] and known[1] ~= '' and 'taken' or 'lost', 0 }
    end
    local window, held = tonumber(known[2]), tonumber(known[3])
    Usage.note_worker(known[6])
    if left <= 0 or sink_room <= 0 or bytes_left <= 0 then
        return { 'ok', held }
    end

    -- Nobody takes more than an equal share while others have room.
    local sums = redis.call('HMGET', own.groups, gid .. SEP .. 'roomy', gid .. SEP .. 'roomy_held',
        gid .. SEP .. 'floor')
    local roomy = math.max(1, tonumber(sums[1] or 0))
    local level = math.ceil((left + tonumber(sums[2] or 0)) / roomy)
    local subscriber = {
        filter = known[4] ~= '' and cjson.decode(known[4]) or nil,
        mixed = sums[3], floor = tonumber(sums[3] or 0),
        window_room = math.min(asked, window - held), others = roomy > 1,
    }
    -- With several filters in a group, other subscribers' room may be for other entries.
    local room = subscriber.mixed and subscriber.window_room or math.min(subscriber.window_room, level - held)

    local batch = { 'ok', held }
    if tonumber(known[5]) > 0 then
        deliver_released(batch, uid, subscriber.window_room, subscriber, 'reserved')
        if may_go_on(batch, subscriber.window_room) then
            redis.call('HSET', own.subscribers, prefix .. 'reserved', 0)
        end
    end
    deliver_due_bulk(batch, uid, room, subscriber)
    deliver_released(batch, uid, room, subscriber)
    deliver_new(batch, uid, room, subscriber, 1)
    deliver_new(batch, uid, room, subscriber, 0)
    if uses_lines and may_go_on(batch, room) and Bulk.waits() then
        deliver_bulk(batch, uid, room, subscriber)
    end
    if #batch > 2 then
        batch[2] = held + #batch - 2
        Groups.set_subscriber(own, gid, uid, window, batch[2])
    end
    return batch
end

local reply = { 0, '' }
for position = 6, #ARGV, 3 do
    reply[#reply + 1] = deliver_to(ARGV[position], ARGV[position + 1], tonumber(ARGV[position + 2]))
end
if left > 0 and (sink_room <= 0 or shares_of_sink.held_back) then
    -- The call that makes room in the sink rings for this queue.
    redis.call('HSET', own.meta, 'blocked', 1)
    if sink_room <= 0 and Reads.is_spent() then
        ring(role)
    end
end
if is_sink_bound and (sink_full or left > 0 and sink_room <= 0) then
    reply[2] = Reads.note_fullness(left > 0 and sink_room <= 0)
end
Bulk.flush()
reply[1] = left
if set_aside or (left > 0 and scan_left <= 0) then
    -- There is more to look at: for others, or behind entries that a filter has skipped.
    ring(role)
end
return reply
