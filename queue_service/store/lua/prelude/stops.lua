-- prelude/stops: deliveries that their workers are to stop.
--
-- A stop is set when a request is canceled, or late, while a worker runs it.  The slot of the worker is
-- free once it has answered.  A stop ends together with the delivery.
-- Why is "cancel", "late" (for its finish_by) or "deleted".
--
-- A worker that is to leave has a stop too, of an entry that does not exist: the largest index.  It
-- ends with the subscriber.  Replicas of every version read it and forget it like the others.
local LEAVE = '18446744073709551615'
local any_stops

local function stop_field(gid, uid, index)
    return gid .. SEP .. uid .. SEP .. padded(index)
end

local function are_there_stops()
    if any_stops == nil then
        any_stops = redis.call('EXISTS', stops) == 1
    end
    return any_stops
end

local function set_stop(gid, uid, index, attempt, why)
    redis.call('HSET', stops, stop_field(gid, uid, index), attempt .. ':' .. why)
    any_stops = true
    ring('input stops')
end

local function stop_of(gid, uid, index)
    local text = are_there_stops() and redis.call('HGET', stops, stop_field(gid, uid, index))
    return text and string.match(text, ':(%a+)$')
end

local function is_leaving(gid, uid)
    return are_there_stops() and redis.call('HEXISTS', stops, stop_field(gid, uid, LEAVE)) == 1
end

-- This worker is to leave; false when that was known.
local function set_leaving(gid, uid)
    if is_leaving(gid, uid) then
        return false
    end
    set_stop(gid, uid, LEAVE, 0, 'leave')
    return true
end

local function clear_stop(gid, uid, index)
    if are_there_stops() then
        redis.call('HDEL', stops, stop_field(gid, uid, index))
    end
end

-- A subscriber is gone, and with it whatever it was to stop and no longer held.
local function clear_stops_of(gid, uid)
    local prefix = gid .. SEP .. uid .. SEP
    for _, field in ipairs(are_there_stops() and redis.call('HKEYS', stops) or {}) do
        if string.sub(field, 1, #prefix) == prefix then
            redis.call('HDEL', stops, field)
        end
    end
end

return {
    set_stop = set_stop, stop_of = stop_of, clear_stop = clear_stop,
    clear_stops_of = clear_stops_of, is_leaving = is_leaving, set_leaving = set_leaving,
}
