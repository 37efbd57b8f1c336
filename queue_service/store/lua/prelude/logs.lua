-- prelude/logs: the log of a request, in a stream like that of its events (see events.lua).
-- uses: events, rules
--
-- Its events have the kind "log" with lines, "attempt" where one begins, and "failed" where the worker of
-- one was lost.  `dead_logs` keeps a copy for the dead letter of a request, as the stream has a TTL.
local ATTEMPTS = 4 -- the stream has room for the full logs of this many attempts

local function key_of(request_id)
    return string.sub(tickets, 1, -#'tickets' - 1) .. 'log:' .. request_id
end

-- Whether there is a log.  Its key is not among KEYS: see Events.
local function exists(key)
    return Rules.max_log_bytes > 0 and redis.pcall('EXISTS', key) == 1
end

local function begin_again(request_id, attempt)
    local key = key_of(request_id)
    if exists(key) then
        Events.begin_attempt_again(key, attempt)
    end
end

-- The worker of an attempt was lost, so only this line says how it ended.
local function note_lost(request_id, attempt, failure)
    local key = key_of(request_id)
    if Rules.max_log_bytes > 0 and type(redis.pcall('EXISTS', key)) == 'number' then
        Events.add_failure(key, 0, attempt, {
            code = failure.code, message = failure.sentence, at_ms = now_ms(),
        })
    end
end

-- {number, kind, attempt, data}... after a number.
local function entries_of(key, after, most)
    local entries = {}
    for _, item in ipairs(redis.call('XRANGE', key, '(' .. after .. '-0', '+', 'COUNT', most)) do
        local fields = item[2]
        entries[#entries + 1] = { string.match(item[1], '^%d+'), fields[2], fields[4], fields[10] }
    end
    return entries
end

-- The request becomes a dead letter, which keeps the newest part of the log.
local function keep(request_id)
    local key = key_of(request_id)
    if not exists(key) then
        return
    end
    local last = Events.newest(key, 0)
    Events.cut(key, last, Rules.max_log_bytes)
    redis.call('HSET', dead_logs, request_id, cmsgpack.pack(entries_of(key, '0', Rules.max_events)))
end

-- The dead letter of the request is removed.
local function let_go(request_id)
    redis.call('HDEL', dead_logs, request_id)
end

-- The same from the copy that the dead letter of a request keeps.
local function entries_of_dead(request_id, after)
    local packed, entries = redis.call('HGET', dead_logs, request_id), {}
    for _, entry in ipairs(packed and cmsgpack.unpack(packed) or {}) do
        if tonumber(entry[1]) > tonumber(after) then
            entries[#entries + 1] = entry
        end
    end
    return entries
end

return {
    ATTEMPTS = ATTEMPTS, begin_again = begin_again, note_lost = note_lost, keep = keep, let_go = let_go,
    entries_of = entries_of, entries_of_dead = entries_of_dead,
}
