-- prelude/artifacts: the files that running jobs add beside their results.
-- uses: contents
--
-- `artifacts` has, by request, a JSON list of {id, name, bytes, content_type, sha256, at}.  The ticket
-- says how many these are (`artifacts`) and which run added them (`artifacts_of`, the `started_at` of that
-- run), so a job without any costs nothing; `artifacts_said` is the worker's number of the newest, because a
-- worker repeats events after a lost connection.  Those of an earlier run go when a later one adds its first,
-- or when the job ends; until then nobody sees them.
local MOST = 256 -- of one job; client_sdk/wire/artifacts.py has the same

local function listed(request_id)
    return cjson.decode(redis.call('HGET', artifacts, request_id) or '[]')
end

-- The job has none any more.  The caller stores the ticket.
local function drop(request_id, ticket)
    if ticket.artifacts then
        Contents.count(listed(request_id), -1)
        redis.call('HDEL', artifacts, request_id)
        ticket.artifacts, ticket.artifacts_of, ticket.artifacts_said = nil, nil, nil
    end
end

-- The run that has ended keeps what it added; what an earlier run added goes.
local function keep_last(request_id, ticket)
    if ticket.artifacts_of ~= ticket.started_at then
        drop(request_id, ticket)
    end
end

-- Whether no entry or job owns it, and it is not about to be removed.
local function is_free(id)
    return redis.call('HEXISTS', file_holders, id) == 0 and not redis.call('ZSCORE', unneeded, id)
end

-- Which of the added files count: those without another owner, within the limits, the last one of each name.
-- Returns the new list of the job, and how many files were taken.
local function merged(old, kept, added, most_bytes, at)
    local is_own, places, new, bytes, taken = {}, {}, {}, 0, 0
    for _, file in ipairs(old) do
        is_own[file.id] = true
    end
    for _, file in ipairs(kept) do
        new[#new + 1], places[file.name] = file, #new + 1
        bytes = bytes + file.bytes
    end
    for _, file in ipairs(added) do
        local place = places[file.name]
        local after = bytes + file.bytes - (place and new[place].bytes or 0)
        if (is_own[file.id] or is_free(file.id))
            and (place or #new < MOST) and after <= most_bytes
        then
            place = place or #new + 1
            file.at = file.at or at
            new[place], places[file.name], bytes, taken = file, place, after, taken + 1
        end
    end
    return new, taken
end

-- A run adds files.  Files that it lists again, after the same run has become another attempt, stay.
-- Returns whether any counts; the caller stores the ticket then.
local function add(request_id, ticket, said, added, most_bytes)
    local is_same_run = ticket.artifacts_of == ticket.started_at
    if is_same_run and said <= ticket.artifacts_said then
        return false
    end
    local old = ticket.artifacts and listed(request_id) or {}
    local kept = is_same_run and old or {}
    local new, taken = merged(old, kept, added, most_bytes, string.format('%.0f', now_ms()))
    if taken == 0 then
        return false
    end
    Contents.count(old, -1)
    Contents.count(new, 1)
    redis.call('HSET', artifacts, request_id, cjson.encode(new))
    ticket.artifacts, ticket.artifacts_of, ticket.artifacts_said = #new, ticket.started_at, said
    return true
end

return { drop = drop, keep_last = keep_last, add = add }
