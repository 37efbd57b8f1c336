-- prelude/gaps: how many entries of the input queue go out before another one.
--
-- Indexes are given one after the other, so the number of entries between two of them is their
-- distance less the gaps: indexes of the other lane, and of entries that went before a group had
-- seen them.  Those alone are written down, in `gaps`: "u<index>" while an entry of the lane that
-- goes first is there, "d<index>" where none of lane 0 is any more.  Putting and handing out in
-- lane 0 writes nothing, and a count costs the same at any depth.
local gaps_made

-- Made at its first use, as most calls have none.
local function gap_notes()
    if gaps_made then
        return gaps_made
    end
    local notes = {}
    gaps_made = notes
    local MOST_GAPS = 20000 -- the lowest beyond so many are forgotten; counts there are upper bounds

    local function count(kind, after, below)
        return redis.call('ZLEXCOUNT', gaps, '(' .. kind .. padded(after),
            below and '(' .. kind .. padded(below) or '(' .. kind .. ':')
    end

    function notes.came_urgent(index)
        redis.call('ZADD', gaps, 0, 'u' .. padded(index))
    end

    -- An entry goes; whether every group had seen it before.
    function notes.goes(index, lane, seen_by_all)
        if tonumber(lane) == 1 then
            redis.call('ZREM', gaps, 'u' .. padded(index))
        elseif seen_by_all then
            return
        end
        later('ZADD', gaps, 0, 'd' .. padded(index))
    end

    -- How many entries of a lane a group has yet to see that lie below an index, nil for all; and
    -- whether that is exact.
    function notes.unseen_below(gid, lane, index)
        local cursor = redis.call('HGET', input.groups, gid .. SEP .. 'cursor' .. lane) or '0'
        if lane == 1 then
            return count('u', cursor, index), true
        end
        local found = redis.call('XRANGE', input.lanes[0], '(' .. cursor .. '-0',
            index and '(' .. index .. '-0' or '+', 'COUNT', 1)[1]
        if not found then
            return 0, true
        end
        local first = string.match(found[1], '^%d+')
        local known = redis.call('HMGET', input.meta, 'last', 'gaps_from')
        local beyond = index or string.format('%.0f', tonumber(known[1] or 0) + 1)
        local unseen = tonumber(beyond) - tonumber(first)
            - count('u', first, beyond) - count('d', first, beyond)
        return math.max(0, unseen), tonumber(known[2] or 0) <= tonumber(first)
    end

    -- Forget gaps that no count needs any more: those in front of every entry, and the lowest beyond
    -- a limit, as one entry that stays keeps all behind it.
    function notes.forget(first)
        if redis.call('EXISTS', gaps) == 0 then
            return
        elseif not first then
            redis.call('UNLINK', gaps)
            redis.call('HDEL', input.meta, 'gaps_from')
            return
        end
        redis.call('ZREMRANGEBYLEX', gaps, '[d', '(d' .. padded(first))
        local beyond = redis.call('ZLEXCOUNT', gaps, '[d', '(e') - MOST_GAPS
        if beyond > 0 then
            local last = redis.call('ZRANGEBYLEX', gaps, '[d', '(e', 'LIMIT', beyond - 1, 1)[1]
            redis.call('ZREMRANGEBYLEX', gaps, '[d', '[' .. last)
            redis.call('HSET', input.meta, 'gaps_from', unpadded(string.sub(last, 2)))
        end
    end
    return notes
end
