-- prelude/gaps: how many entries of the input queue go out before another one.
-- uses: writes
--
-- Indexes are given one after the other, so the number of entries between two of them is their
-- distance less the gaps: indexes of the other lane, and of entries that went before a group had
-- seen them.  Only gaps are stored, in `gaps`: "u<index>" while an entry of the lane that goes
-- first is there, "d<index>" where an entry of lane 0 no longer is.  A put or a delivery in lane 0
-- writes nothing, and a count costs the same at any depth.

local notes = {}
local MOST_GAPS = 20000 -- beyond this the lowest are forgotten, and counts become upper bounds

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
    Writes.later('ZADD', gaps, 0, 'd' .. padded(index))
end

-- Where a group's unseen entries of a lane begin, read once for all that a call looks at.
local beginnings = {}

local function beginning_of(gid, lane)
    local name = gid .. SEP .. 'cursor' .. lane
    local begin = beginnings[name]
    if not begin then
        begin = { cursor = redis.call('HGET', input.groups, name) or '0' }
        beginnings[name] = begin
        if lane == 1 then
            begin.all = count('u', begin.cursor)
        else
            local found = redis.call('XRANGE', input.lanes[0], '(' .. begin.cursor .. '-0', '+',
                'COUNT', 1)[1]
            local known = redis.call('HMGET', input.meta, 'last', 'gaps_from')
            begin.first = found and string.match(found[1], '^%d+')
            begin.last, begin.gaps_from = tonumber(known[1] or 0), tonumber(known[2] or 0)
        end
    end
    return begin
end

-- How many entries of a lane a group has yet to see that lie below an index, nil for all; and
-- whether that is exact.  Only for verbs that change nothing.
function notes.unseen_below(gid, lane, index)
    local begin = beginning_of(gid, lane)
    if lane == 1 then
        return index and count('u', begin.cursor, index) or begin.all, true
    end
    local beyond, first = tonumber(index or begin.last + 1), tonumber(begin.first)
    if not first or first >= beyond then
        return 0, true
    end
    local text = string.format('%.0f', beyond)
    local unseen = beyond - first - count('u', begin.first, text) - count('d', begin.first, text)
    return math.max(0, unseen), begin.gaps_from <= first
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
