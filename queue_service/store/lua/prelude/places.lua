-- prelude/places: how many entries of a group go before an entry, and how exact that number is.
-- uses: bulk, gaps, lines, rules

local place = {}

-- What is the same for every entry of a group, read once for all that a call looks at.
local groups = {}

local function group_of(gid)
    local group = groups[gid]
    if not group then
        local prefix = gid .. SEP
        local sums = redis.call('HMGET', own.groups, prefix .. 'filter', prefix .. 'floor',
            prefix .. 'done', prefix .. 'skipped')
        local filters = (sums[1] or '') ~= '' or sums[2] or tonumber(sums[3] or 0) > 0
            or tonumber(sums[4] or 0) > 0
        group = { quality = filters and 'at_most' or 'exact' }
        group.released =
            redis.call('ZLEXCOUNT', own.released, '[' .. prefix, '(' .. gid .. ' ')
        groups[gid] = group
    end
    return group
end

-- Returns how many entries wait in an owner's line before an index, or in all if that is nil.
local function in_line_below(owner, lane, index)
    local from = owner .. SEP .. lane .. SEP
    return redis.call('ZLEXCOUNT', lines, '[' .. from,
        index and '(' .. from .. padded(index) or '(' .. owner .. SEP .. lane .. ' ')
end

-- Adds, for the owner "", the entries from before the lines.
local function waits_below(owner, lane, index)
    local before_lines = 0
    if owner == '' then
        local bound = Lines.covers(index or lines_from) and lines_from or index
        before_lines = Gaps.unseen_below(Rules.workers_gid, lane, bound)
    end
    return in_line_below(owner, lane, index) + before_lines
end

-- Says whether an owner's entries in lane 1 go before those of all other owners.
local function has_right(owner)
    if owner == '' then
        return true
    end
    local from = owner .. SEP .. 1
    local member = redis.call('ZRANGEBYLEX', lines, '[' .. from .. SEP, '(' .. from .. ' ',
        'LIMIT', 0, 1)[1]
    local fields = member and read(input, unpadded(string.sub(member, #from + 2)), 1)
    return fields and is_urgent(fields)
end

-- Returns how many entries go before one that waits for its first delivery: those of its owner, at most
-- as many of each other owner, and all that have the right to go first.  Also says whether no other
-- owner competes, which makes the number exact.
local function ahead_in_lines(index, lane, fields)
    local owner = Lines.owner_of(fields)
    local urgent = lane == 1 and is_urgent(fields)
    local mine = waits_below(owner, lane, index)
    local first = lane == 0 and waits_below(owner, 1) or 0
    local rivals, alone = 0, true
    for other, account in pairs(Lines.accounts()) do
        local competes = other ~= owner
            and (other == '' or account.waiting[0] + account.waiting[1] > 0)
        if competes and Bulk.is_bulk(other) ~= Bulk.is_bulk(owner) then
            -- Bulk goes after all others, but for its turns.
            local before = Bulk.is_bulk(owner) and waits_below(other, 0) + waits_below(other, 1) or 0
            rivals, alone = rivals + before, alone and other == '' and before == 0
        elseif competes then
            local in_front = waits_below(other, 1)
            local goes_first = in_front > 0 and has_right(other)
            local beside = goes_first and 0 or in_front
            if urgent and goes_first then
                beside = Rules.fair and in_front or waits_below(other, 1, index)
            elseif not urgent then
                rivals = rivals + (goes_first and in_front or 0)
                beside = beside + waits_below(other, 0, not Rules.fair and index or nil)
            end
            if not urgent or goes_first then
                alone = alone and beside == 0
                rivals = rivals + (Rules.fair and math.min(mine + first, beside) or beside)
            end
        end
    end
    return mine + first + rivals, alone
end

-- How many go before an entry that waits, and how good that number is: "exact", "at_most", or
-- "about" where it depends on how long the entries of others run.
function place.of(gid, index, lane, record, fields)
    local prefix, group = gid .. SEP, group_of(gid)
    local released, quality = group.released, group.quality
    if record then
        return redis.call('ZLEXCOUNT', own.released, '[' .. prefix,
            '(' .. prefix .. padded(index)), quality
    elseif role == 'sink' then
        -- Results are read from the sink in any order, and no gap is written down.
        local cursor = redis.call('HGET', own.groups, prefix .. 'cursor' .. lane) or '0'
        return released + math.max(0, tonumber(index) - tonumber(cursor) - 1), 'at_most'
    elseif lines_from and gid == Rules.workers_gid then
        local ahead, alone = ahead_in_lines(index, lane, fields)
        return released + ahead, alone and quality or 'about'
    end
    local before, is_exact = Gaps.unseen_below(gid, lane, index)
    local urgent = lane == 0 and Gaps.unseen_below(gid, 1) or 0
    return released + urgent + before, is_exact and quality or 'at_most'
end

return place
