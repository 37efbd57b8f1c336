-- prelude/pauses: entries that wait for a while before they go out again.
--
-- Such an entry stays in its stream: it keeps its index, takes up capacity, and can be removed like any
-- other.  It is in `pauses` (group, index -> until when, in ms) in place of
-- `released`, where due.lua puts it when its time has come.  The group's sum `paused` counts them,
-- because no subscriber can receive them: they are not among the waiting entries.

local pause, any = {}, {}

function pause.are_there(q)
    if any[q] == nil then
        any[q] = redis.call('EXISTS', q.pauses) == 1
    end
    return any[q]
end

function pause.begin(q, gid, index, until_ms)
    if redis.call('ZADD', q.pauses, until_ms, gid .. SEP .. padded(index)) == 1 then
        redis.call('HINCRBY', q.groups, gid .. SEP .. 'paused', 1)
    end
    any[q] = true
end

function pause.finish(q, member)
    if pause.are_there(q) and redis.call('ZREM', q.pauses, member) == 1 then
        redis.call('HINCRBY', q.groups, string.match(member, '^[^\31]*') .. SEP .. 'paused', -1)
    end
end

-- Until when an entry waits, 0 for one that does not.
function pause.of(q, gid, index)
    local until_ms = pause.are_there(q)
        and redis.call('ZSCORE', q.pauses, gid .. SEP .. padded(index))
    return tonumber(until_ms or 0)
end

-- Until due.lua has something to do, in ms; -1 when nothing waits for a time.
function pause.ms_until_due(now)
    local next_time = tonumber(redis.call('ZRANGE', times, 0, 0, 'WITHSCORES')[2])
    local ends = tonumber(redis.call('ZRANGE', input.pauses, 0, 0, 'WITHSCORES')[2])
    if not next_time and not ends then
        return -1
    end
    return math.max(0, math.min(next_time or ends, ends or next_time) - now)
end

return pause
