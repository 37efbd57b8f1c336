-- prelude/entries: how an entry comes, goes, is put back, and what a filter makes of it.

local sink_space = false

-- Read at once what ending many deliveries needs; their indexes stand in ARGV, `step` apart.
-- Returns the request ids of those that are there.
local function read_ahead(gid, first, step)
    local indexes, request_ids = {}, {}
    for position = first, #ARGV, step do
        indexes[#indexes + 1] = ARGV[position]
    end
    read_records(own, gid, indexes)
    for _, index in ipairs(indexes) do
        local record = record_of(own, gid, index)
        if record then
            request_ids[#request_ids + 1] = record.request_id
        end
    end
    read_request_ids(own, request_ids)
    return request_ids
end

-- Remove an entry for all groups; whoever knows its tags gives them.  answered_by: the group whose user
-- ends it by its answer; other users are stopped.  Returns false when there was
-- none.
local function remove(q, index, lane, request_id, tags, answered_by)
    if not request_id then
        local fields
        fields, lane = read(q, index, lane)
        if not fields then
            return false
        end
        request_id, tags = fields[REQUEST_ID], fields[TAGS]
    end
    if lined_from and q == input then
        fair_line().leave_if_in(index, lane)
    end
    if redis.call('XDEL', q.lanes[lane], index .. '-0') == 0 then
        return false
    end
    unlink(q, request_id, index)
    note_owned(place_of(q, lane), request_id, padded(index), false)
    if may_have_ticket(tags) then
        maybe_gone[request_id] = true
    end

    local groups = groups_of(q)
    local seen_by_all = #groups.gids > 0
    for _, gid in ipairs(groups.gids) do
        local may_have = sees(q, gid, index, request_id)
        local record = may_have and record_of(q, gid, index)
        seen_by_all = seen_by_all and (record or not may_have)
        if record then
            erase_record(q, gid, index, record)
        end
        if record and record.state == 'h' then
            if lined_from and q == input and gid ~= answered_by then
                fair_line().note_broken_off(gid, index)
            end
            end_hold(q, gid, record.uid, index)
        elseif may_have then
            end_wait(q, gid, index)
        end
        if may_have and groups.any_done and redis.call('HDEL', q.done, gid .. SEP .. index) == 1 then
            group_sum(q, gid, 'done', -1)
        end
    end
    if q == input then
        gap_notes().goes(index, lane, seen_by_all)
    end
    if groups.any_taken then
        redis.call('ZREM', q.taken, index)
    end
    if (q == own and role or peer_role) == 'sink' then
        sink_space = true
    end
    return true
end

-- A group is owed an entry that it sees when it has not committed it, no filter of it has passed it
-- over, and somebody may still read for it: it has members, or it is the workers' own group, which stays
-- while no worker is there.
local function owed_by_another(q, gid, index, request_id)
    local groups = groups_of(q)
    for _, other in ipairs(groups.gids) do
        if other ~= gid
            and (groups.members[other] > 0 or group_value(q, other, 'resident') == 1)
            and sees(q, other, index, request_id)
            and redis.call('HEXISTS', q.done, other .. SEP .. index) == 0
            and not redis.call('ZSCORE', q.skipped, other .. SEP .. padded(index))
        then
            return true
        end
    end
    return false
end

-- This group is done with the entry; it goes when no other group owes it.  Returns false when
-- there was no such entry.
local function finish(q, gid, index, record)
    local lane, request_id, tags
    if record then
        lane, request_id, tags = record.lane, record.request_id, record.tags
    end
    if not owed_by_another(q, gid, index, request_id) then
        return remove(q, index, lane, request_id, tags, record and gid)
    end
    local fields, found = read(q, index, lane)
    if not fields then
        return false
    end
    if lined_from and q == input and gid == rules().workers_gid
        and not (record and record.state == 'h')
    then
        fair_line().leave(index, found, fields)
    end
    if record then
        erase_record(q, gid, index, record)
    end
    if record and record.state == 'h' then
        end_hold(q, gid, record.uid, index)
    else
        end_wait(q, gid, index)
    end
    if redis.call('HSET', q.done, gid .. SEP .. index, 1) == 1 then
        group_sum(q, gid, 'done', 1)
        groups_of(q).any_done = true
    end
    return true
end

-- Append an entry under the next index.  The caller has checked that there is room.
local function append(q, lane, fields)
    local last = last_index[q] or tonumber(redis.call('HGET', q.meta, 'last') or 0)
    last_index[q] = last + 1
    local index = string.format('%.0f', last + 1)
    redis.call('XADD', q.lanes[lane], index .. '-0', unpack(fields))
    link(q, fields[REQUEST_ID], index)
    note_owned(place_of(q, lane), fields[REQUEST_ID], padded(index), true)
    if q == input and lane == 1 then
        gap_notes().came_urgent(index)
    end
    if q == input and (lined_from or fields[OWNER - 1] == 'o') then
        fair_line().enter(index, lane, fields)
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

-- A filter is {from = lowest index, request_id = text or nil, tags = {name = text}, owner = text or
-- nil}; with an owner the request id is a name as it is stored.
local function matches(filter, index, fields)
    if tonumber(index) < filter.from then
        return false
    end
    local name = fields[REQUEST_ID]
    if filter.owner and filter.owner ~= owner_of(name) then
        return false
    end
    if filter.request_id and filter.request_id ~= name
        and (filter.owner or not meanings().may_mean(filter.request_id, name))
    then
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
