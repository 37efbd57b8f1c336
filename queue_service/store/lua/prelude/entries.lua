-- prelude/entries: how entries are added, removed and matched by a filter.
-- uses: contents, gaps, groups, lines, meanings, owners, records, request_ids, rules, tickets, usage

local sink_space = false
local is_index_given = {}

-- Read in two commands what ending many deliveries needs; their indexes are in ARGV, `step` apart.
-- Returns the request ids of those that exist.
local function read_ahead(gid, first, step)
    local indexes, request_ids = {}, {}
    for position = first, #ARGV, step do
        indexes[#indexes + 1] = ARGV[position]
    end
    Records.read_records(own, gid, indexes)
    for _, index in ipairs(indexes) do
        local record = Records.record_of(own, gid, index)
        if record then
            request_ids[#request_ids + 1] = record.request_id
        end
    end
    RequestIds.read_request_ids(own, request_ids)
    return request_ids
end

-- Remove an entry for all groups.  Pass its request id and tags if you have them: that saves a read.
-- answered_by: the group whose user ends it with a result; other users are stopped.  Returns false
-- if there is no such entry.
local function remove(q, index, lane, request_id, tags, answered_by)
    local fields
    if not request_id then
        fields, lane = read(q, index, lane)
        if not fields then
            return false
        end
        request_id, tags = fields[REQUEST_ID], fields[TAGS]
    end
    if lines_from and q == input then
        Lines.leave_if_in(index, lane)
    end
    -- The workers may have ended the job before, while another group still needed its entry.
    if q == input and not (Groups.groups_of(q).any_done
        and redis.call('HEXISTS', q.done, Rules.workers_gid .. SEP .. index) == 1)
    then
        local is_taken = Groups.groups_of(q).any_taken and redis.call('ZSCORE', q.taken, index)
        Usage.end_job(index, lane, is_taken and 'succeeded' or 'canceled', fields)
    end
    if redis.call('XDEL', q.lanes[lane], index .. '-0') == 0 then
        return false
    end
    RequestIds.unlink(q, request_id, index)
    Contents.leave(q, tags)
    Owners.note_owned(Owners.place_of(q, lane), request_id, padded(index), false)
    if Tickets.may_have_ticket(tags) then
        Tickets.note_removed(request_id)
    end

    local groups = Groups.groups_of(q)
    local seen_by_all = #groups.gids > 0
    for _, gid in ipairs(groups.gids) do
        local may_have = Owners.sees(q, gid, index, request_id)
        local record = may_have and Records.record_of(q, gid, index)
        seen_by_all = seen_by_all and (record or not may_have)
        if record then
            Records.erase_record(q, gid, index, record)
        end
        if record and record.state == 'h' then
            if lines_from and q == input and gid ~= answered_by then
                Lines.note_broken_off(gid, index)
            end
            Groups.end_hold(q, gid, record.uid, index)
        elseif may_have then
            Groups.end_wait(q, gid, index)
        end
        if may_have and groups.any_done and redis.call('HDEL', q.done, gid .. SEP .. index) == 1 then
            Groups.group_sum(q, gid, 'done', -1)
        end
    end
    if q == input then
        Gaps.goes(index, lane, seen_by_all)
    end
    if groups.any_taken then
        redis.call('ZREM', q.taken, index)
    end
    if (q == own and role or peer_role) == 'sink' then
        sink_space = true
    end
    return true
end

-- Whether another group still needs the entry: it sees the entry, has neither committed nor skipped
-- it, and has members or is the workers' group, which exists without members too.
local function owed_by_another(q, gid, index, request_id)
    local groups = Groups.groups_of(q)
    for _, other in ipairs(groups.gids) do
        if other ~= gid
            and (groups.members[other] > 0 or Groups.group_value(q, other, 'resident') == 1)
            and Owners.sees(q, other, index, request_id)
            and redis.call('HEXISTS', q.done, other .. SEP .. index) == 0
            and not redis.call('ZSCORE', q.skipped, other .. SEP .. padded(index))
        then
            return true
        end
    end
    return false
end

-- This group is done with the entry, which is removed once no other group needs it.  Returns false
-- if there is no such entry.
local function finish(q, gid, index, record)
    local lane, request_id, tags
    if record then
        lane, request_id, tags = record.lane, record.request_id, record.tags
    end
    if q == input then
        Usage.note_end(index, 'succeeded')
    end
    if not owed_by_another(q, gid, index, request_id) then
        return remove(q, index, lane, request_id, tags, record and gid)
    end
    local fields, found = read(q, index, lane)
    if not fields then
        return false
    end
    if lines_from and q == input and gid == Rules.workers_gid
        and not (record and record.state == 'h')
    then
        Lines.leave(index, found, fields)
    end
    if q == input and gid == Rules.workers_gid then
        Usage.end_job(index, found, 'succeeded', fields)
    end
    if record then
        Records.erase_record(q, gid, index, record)
    end
    if record and record.state == 'h' then
        Groups.end_hold(q, gid, record.uid, index)
    else
        Groups.end_wait(q, gid, index)
    end
    if redis.call('HSET', q.done, gid .. SEP .. index, 1) == 1 then
        Groups.group_sum(q, gid, 'done', 1)
        Groups.groups_of(q).any_done = true
    end
    return true
end

-- Append an entry under the next index.  The caller has checked that there is room.
local function append(q, lane, fields)
    local last = last_index[q] or tonumber(redis.call('HGET', q.meta, 'last') or 0)
    last_index[q], is_index_given[q] = last + 1, true
    local index = string.format('%.0f', last + 1)
    Contents.enter(q, fields)
    redis.call('XADD', q.lanes[lane], index .. '-0', unpack(fields))
    RequestIds.link(q, fields[REQUEST_ID], index)
    Owners.note_owned(Owners.place_of(q, lane), fields[REQUEST_ID], padded(index), true)
    if q == input and lane == 1 then
        Gaps.came_urgent(index)
    end
    if q == input and (lines_from or fields[OWNER - 1] == 'o') then
        Lines.enter(index, lane, fields)
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
    if filter.owner and filter.owner ~= Owners.owner_of(name) then
        return false
    end
    if filter.request_id and filter.request_id ~= name
        and (filter.owner or not Meanings.may_mean(filter.request_id, name))
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

-- The input queue waits for room in the sink, and some was made.
local function flush()
    for q in pairs(is_index_given) do
        redis.call('HSET', q.meta, 'last', last_index[q], 'format', format_of[q])
    end
    is_index_given = {}
    if sink_space and redis.call('HDEL', input.meta, 'blocked') == 1 then
        ring('input')
    end
end

return {
    read_ahead = read_ahead, remove = remove, owed_by_another = owed_by_another, finish = finish,
    append = append, oldest = oldest, matches = matches, flush = flush,
}
