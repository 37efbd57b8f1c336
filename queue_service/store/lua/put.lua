-- put: append entries, as long as there is room.
-- uses: contents, entries, evictions, groups, outbox, owners, quotas, reads, records, request_ids,
--       rules, tickets
-- writes
--
-- keys     62..  for each item that has one: its idempotency key, then the key of its putter's rate
-- argv     4  then for each item: request id, tags (JSON), data, lane, path, content type,
--          "1" when it has an idempotency key, putter (see prelude/quotas), and for a result
--          the owner of the token that puts it, "" for one that sees everything, and the name that its
--          request id means when that is "<request id>@<owner>", else ""
-- returns  for each item {index, request id}, of the entry that already has the request id if there is
--          one; {"later"} when that one waits for its time, {"full"}, {"ended"} when its stream was
--          ended, {"foreign"} for a result of an entry that another owner's worker is to answer, or
--          what quota_refusal says
local capacity, evicts, kept_ms = Rules.capacity, Rules.evicts, Rules.idempotency_ms
local now = now_ms()
local held_off = role == 'input' and redis.call('XLEN', delayed) or 0
local stored = length(own) + more_places[own] + held_off
if role == 'sink' and not evicts then
    -- Each held input entry has a place reserved here for its result.
    stored = stored + Contents.reserved()
end

-- Whether this is the result of a held entry, which has a place reserved.
local function has_place(request_id)
    local index = role == 'sink' and length(own) + more_places[own] < capacity and RequestIds.first_of(peer, request_id)
    for _, gid in ipairs(index and Groups.groups_of(peer).gids or {}) do
        local record = Records.record_of(peer, gid, index)
        if record and record.state == 'h' then
            return true
        end
    end
    return false
end

local function is_held_by(name, owner)
    local index = RequestIds.first_of(input, name)
    for _, gid in ipairs(index and Groups.groups_of(input).gids or {}) do
        local record = Records.record_of(input, gid, index)
        if record and record.state == 'h' and Owners.owner_of(record.uid) == owner then
            return true
        end
    end
    return false
end

-- The name under which a result is stored: that of the entry which it answers.  A worker that reads the
-- input queue through EAS sees the ids of owned entries with their owner, so an id without one is
-- the service's own, also when its entry has gone before its result comes.  A token of a
-- worker answers what its own connections hold; a result that answers no entry is the worker's own.
local function name_of_result(request_id, owner, meant)
    local unsure = string.sub(meant, 1, 1) == '?'
    if unsure then
        meant = string.sub(meant, 2)
        if not RequestIds.first_of(input, meant) and redis.call('HEXISTS', tickets, meant) == 0 then
            meant = ''
        end
    end
    if owner == '' then
        return meant ~= '' and not RequestIds.first_of(input, request_id) and meant or request_id
    end
    local is_there = false
    for _, name in ipairs({ request_id, meant ~= '' and meant or nil }) do
        if is_held_by(name, owner) then
            return name
        end
        is_there = is_there or RequestIds.first_of(input, name)
    end
    return not is_there and owner .. Owners.OWNED .. request_id or nil
end

-- Whether the queue has no room for one more.  Results that were read make room in the sink.
local function is_full(name, data)
    local is_too_much, left =
        Reads.is_full(own, stored, #data, capacity, Owners.owner_of(name), evicts)
    stored = left
    return is_too_much
end

-- The index of the input entry with a request id, "0" while that entry waits for its time.
local function standing(request_id)
    local index = role == 'input' and RequestIds.first_of(own, request_id)
    local ticket = not index and held_off > 0 and Tickets.ticket_of(request_id)
    return ticket and ticket.delayed and '0' or index
end

-- Why the owner of a worker's token may put no more results without an entry, if so: they are
-- its own, and it may never read them.  And which of those that it has read are to go with this one.
local function own_result_refusal(position, name)
    local owner = ARGV[position + 8]
    if role == 'input' or owner == '' or Owners.owner_of(name) ~= owner or has_place(name) then
        return nil
    end
    local results, places = Owners.length_for(sink, owner), Contents.places_for(own, #ARGV[position + 2])
    local chosen = Quotas.choose_share(owner, results, capacity - stored, places)
    if chosen then
        return nil, chosen
    end
    return { 'quota', 'sink_share', results, -1 }
end

local STEP = 10
local request_ids, foreign = {}, {}
for position = 4, #ARGV, STEP do
    local request_id = ARGV[position]
    if role == 'sink' then
        local name = name_of_result(request_id, ARGV[position + 8], ARGV[position + 9])
        request_id, foreign[position] = name or request_id, not name
    end
    request_ids[#request_ids + 1] = request_id
end
RequestIds.read_request_ids(own, request_ids)

local known = redis.call('HMGET', own.meta, 'last', 'ended')
last_index[own] = tonumber(known[1] or 0)
local results, next_key, appended = {}, OWN_KEYS, false
-- In a function, because Lua allows only 200 local variables in a script.
local function put_one(position)
    local request_id, tags, data, lane = unpack(ARGV, position, position + 3)
    request_id = request_ids[#results + 1]
    local path, content_type, idempotent = unpack(ARGV, position + 4, position + 6)
    local putter, rate_key
    if ARGV[position + 7] ~= '' then
        putter = Quotas.read_putter(ARGV[position + 7])
    end

    local key, before
    if idempotent == '1' then
        key = KEYS[next_key]
        next_key = next_key + 1
        before = redis.call('GET', key)
    end
    if putter and putter.interval_ms > 0 then
        rate_key = KEYS[next_key]
        next_key = next_key + 1
    end
    local index_before = not before and standing(request_id)
    local refusal, to_drop
    if putter and not before then
        refusal, to_drop = Quotas.refusal(putter, Owners.owner_of(request_id), rate_key, now,
            not evicts and capacity - stored)
    end
    if not refusal and not before and not index_before then
        local more
        refusal, more = own_result_refusal(position, request_id)
        to_drop = more or to_drop
    end
    to_drop = to_drop or {}
    local function drop_read_results()
        local freed = Reads.drop_chosen(to_drop)
        to_drop, stored = {}, role == 'sink' and stored - freed or stored
        return true
    end

    if before then
        local index, first_id = string.match(before, '^(%d+) (.*)$')
        -- This write changes nothing.  WAIT and WAITAOF confirm the last write of this connection,
        -- and the first put came over another connection, so without it nothing would be confirmed.
        redis.call('PEXPIRE', key, math.max(1, redis.call('PTTL', key)))
        results[#results + 1] = { index, first_id }
    elseif index_before then
        if index_before == '0' then
            results[#results + 1] = { 'later' }
        else
            redis.call('HSET', own.request_ids, request_id, index_before) -- likewise
            results[#results + 1] = { index_before, request_id }
        end
    elseif foreign[position] then
        results[#results + 1] = { 'foreign' }
    elseif known[2] then
        results[#results + 1] = { 'ended' }
    elseif refusal then
        results[#results + 1] = refusal
    elseif (role == 'input' or drop_read_results())
        and Contents.is_full(own, stored, #data, capacity) and not has_place(request_id)
        and is_full(request_id, data) and not (evicts and Evictions.next(own, request_id)) then
        results[#results + 1] = { 'full' }
    else
        drop_read_results()
        if evicts and Contents.is_full(own, stored, #data, capacity) then
            stored = stored - Evictions.make_room(own, stored, capacity, request_id, data)
        end
        local fields =
            { 'r', request_id, 't', tags, 'a', now, 'd', data, 'p', path, 'c', content_type }
        lane = tonumber(lane)
        if putter then
            Quotas.own(fields, putter, lane)
            Quotas.note_put(putter, rate_key, now)
        end
        local index = Entries.append(own, lane, fields)
        if role == 'sink' and next(Rules.webhooks) then
            Outbox.note_result(request_id, tags, index)
        end
        if key then
            local key_ms = Quotas.key_ms(Owners.owner_of(request_id), kept_ms, now)
            redis.call('SET', key, index .. ' ' .. request_id, 'PX', string.format('%.0f', key_ms))
        end
        stored = stored + Contents.places_for(own, #data)
        appended = true
        results[#results + 1] = { index, request_id }
    end
end

for position = 4, #ARGV, STEP do
    put_one(position)
end

if appended then
    ring(role)
end
return results
