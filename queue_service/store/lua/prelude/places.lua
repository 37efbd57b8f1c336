-- prelude/places: where entries are in the line of a group, and how good that number is.
local place_made

-- Made at its first use, as most calls have none.
local function places()
    if place_made then
        return place_made
    end
    local place = {}
    place_made = place

    -- How many go before an entry that waits, and how good that number is: "exact", "at_most", or
    -- "about" where it depends on how long the entries of others run.
    function place.of(gid, index, lane, record, fields)
        local prefix = gid .. SEP
        local released = redis.call('ZLEXCOUNT', own.released, '[' .. prefix,
            record and '(' .. prefix .. padded(index) or '(' .. gid .. ' ')
        local sums = redis.call('HMGET', own.groups, prefix .. 'filter', prefix .. 'floor',
            prefix .. 'done', prefix .. 'skipped')
        local filtered = (sums[1] or '') ~= '' or sums[2] or tonumber(sums[3] or 0) > 0
            or tonumber(sums[4] or 0) > 0
        local quality = filtered and 'at_most' or 'exact'
        if record then
            return released, quality
        elseif role == 'sink' then
            -- Results are read from the sink in any order, and no gap is written down.
            local cursor = redis.call('HGET', own.groups, prefix .. 'cursor' .. lane) or '0'
            return released + math.max(0, tonumber(index) - tonumber(cursor) - 1), 'at_most'
        elseif lined_from and gid == rules().workers then
            local ahead, alone = fair_line().ahead(index, lane, fields)
            return released + ahead, alone and quality or 'about'
        end
        local before, is_exact = gap_notes().unseen_below(gid, lane, index)
        local urgent = lane == 0 and gap_notes().unseen_below(gid, 1) or 0
        return released + urgent + before, is_exact and quality or 'at_most'
    end
    return place
end
