-- note: store events of running deliveries.
-- uses: artifacts, events, logs, owners, records, rules, tickets
-- writes
--
-- An attempt begins with an event of the kind "attempt": events of earlier attempts do not count.
-- Artifacts are also reported of jobs whose events are not stored, and then only listed.
--
-- keys     62..  for each item: the events of its request, or its log for the kind "log"
-- argv     4  group
--          5  the most bytes of all artifacts of a job
--          then for each item: user, index, attempt, request id, the worker's number, kind, data,
--          tokens, lines of chunks
-- returns  for each item 1, or 0 when the delivery was no longer this user's
local gid = ARGV[4]
local most_artifact_bytes = tonumber(ARGV[5])
local last_events = {}

local function last_of(key, said)
    -- Where earlier events were forgotten, the clock gives a number above all of theirs.
    last_events[key] = last_events[key] or Events.newest(key, said > 1 and now_ms() or 0)
    return last_events[key]
end

-- Returns whether to store an event of them, and the ticket that has changed, if any.
local function add_artifacts(name, said, data)
    local ticket = Tickets.ticket_of(name)
    if not ticket or ticket.state
        or not Artifacts.add(name, ticket, said, cjson.decode(data).files, most_artifact_bytes)
    then
        return false
    end
    return ticket.events, ticket
end

local results, keys, most_of = {}, {}, {}
for position = 6, #ARGV, 9 do
    local uid, index, attempt, request_id = unpack(ARGV, position, position + 3)
    local said, kind, data, tokens, chunks = unpack(ARGV, position + 4, position + 8)
    local key = KEYS[OWN_KEYS + (position - 6) / 9]
    local name = request_id
    local record = Records.record_of(own, gid, index)
    attempt, said = tonumber(attempt), tonumber(said)
    if record and record.state == 'h' and record.uid == uid and record.attempt == attempt
        and Owners.plain_of(record.request_id) == request_id
    then
        if record.request_id ~= request_id then
            -- A worker knows the plain id; the stored name is in the record of its delivery.
            name = record.request_id
            key = string.sub(key, 1, #key - #request_id) .. name
        end
        local last = last_of(key, said)
        local is_stored, changed = true, nil
        if kind == 'artifact' then
            is_stored, changed = add_artifacts(name, said, data)
        elseif kind == 'log' then
            is_stored = Rules.max_log_bytes > 0
            most_of[key] = Logs.ATTEMPTS * Rules.max_log_bytes
        end
        -- An entry that went to the rear, or that an operator replayed, starts with attempt 1 again.
        if is_stored and attempt ~= last.attempt then
            last.attempt, last.said = attempt, 0
            Events.add(key, last, 'attempt', '', 0)
        end
        -- A worker repeats events after a lost connection; they are stored once.
        if is_stored and said > last.said then
            last.said = said
            Events.add(key, last, kind, data, tokens, chunks)
            keys[key] = name
            if kind == 'progress' then
                changed = Tickets.ticket_of(name)
                if changed then
                    changed.progress, changed.progress_of = data, attempt
                end
            end
        end
        if changed then
            redis.call('HSET', tickets, name, cjson.encode(changed))
        end
        results[#results + 1] = 1
    else
        results[#results + 1] = 0
    end
end
local names = {}
for key, request_id in pairs(keys) do
    Events.cut(key, last_events[key], most_of[key] or Rules.max_event_bytes)
    redis.call('PEXPIRE', key, Rules.events_ms)
    names[#names + 1] = request_id
end
if #names > 0 then
    ring_events(names, true)
end
return results
