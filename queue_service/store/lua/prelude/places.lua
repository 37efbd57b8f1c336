-- prelude/places: how many entries of a group go before an entry, and how exact that number is.
-- uses: gaps, lines, rules

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
        local ahead, alone = Lines.ahead(index, lane, fields)
        return released + ahead, alone and quality or 'about'
    end
    local before, is_exact = Gaps.unseen_below(gid, lane, index)
    local urgent = lane == 0 and Gaps.unseen_below(gid, 1) or 0
    return released + urgent + before, is_exact and quality or 'at_most'
end

return place
