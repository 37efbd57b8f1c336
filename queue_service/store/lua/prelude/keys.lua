-- prelude/keys: the keys, the clock, the doorbell, and the fields of an entry.
--
-- Every script begins with this file; the other files of this folder are modules (see prelude.py).
--
-- keys     1..21   the queue that the script works on    (see keys.py for what each holds)
--          22..42  the other queue of the same service
--          43..61  keys of the service: tickets, times, delayed, stops, lines, shares, running,
--                  owned, gaps, due, file_holders, unneeded, read_results, outbox, artifacts,
--                  dead_logs, listed, usage, usage_hours
-- argv     1  channel of the service's doorbells
--          2  role of the queue, "input" or "sink"
--          3  the rules of the service (see rules.lua)
local SEP = '\31'
local QUEUE_KEYS = 21
local channel, role = ARGV[1], ARGV[2]
local peer_role = role == 'input' and 'sink' or 'input'

local function queue(offset)
    return {
        lanes = { [0] = KEYS[offset + 1], [1] = KEYS[offset + 2] },
        meta = KEYS[offset + 3], request_ids = KEYS[offset + 4],
        deliveries = KEYS[offset + 5], holds = KEYS[offset + 6],
        released = KEYS[offset + 7], skipped = KEYS[offset + 8],
        done = KEYS[offset + 9], groups = KEYS[offset + 10],
        members = KEYS[offset + 11], leases = KEYS[offset + 12],
        subscribers = KEYS[offset + 13], taken = KEYS[offset + 14],
        repeated_ids = KEYS[offset + 15],
        dead = KEYS[offset + 16], dead_data = KEYS[offset + 17],
        dead_order = KEYS[offset + 18], deadlines = KEYS[offset + 19],
        pauses = KEYS[offset + 20], holders = KEYS[offset + 21],
    }
end
local own, peer = queue(0), queue(QUEUE_KEYS)
local input = role == 'input' and own or peer
local sink = role == 'input' and peer or own

local SHARED_KEYS = 19
local tickets, times = KEYS[2 * QUEUE_KEYS + 1], KEYS[2 * QUEUE_KEYS + 2]
local delayed, stops = KEYS[2 * QUEUE_KEYS + 3], KEYS[2 * QUEUE_KEYS + 4]
local lines, shares = KEYS[2 * QUEUE_KEYS + 5], KEYS[2 * QUEUE_KEYS + 6]
local running, owned = KEYS[2 * QUEUE_KEYS + 7], KEYS[2 * QUEUE_KEYS + 8]
local gaps, due_jobs = KEYS[2 * QUEUE_KEYS + 9], KEYS[2 * QUEUE_KEYS + 10]
local file_holders, unneeded = KEYS[2 * QUEUE_KEYS + 11], KEYS[2 * QUEUE_KEYS + 12]
local read_results, outbox = KEYS[2 * QUEUE_KEYS + 13], KEYS[2 * QUEUE_KEYS + 14]
local artifacts, dead_logs = KEYS[2 * QUEUE_KEYS + 15], KEYS[2 * QUEUE_KEYS + 16]
local listed, usage = KEYS[2 * QUEUE_KEYS + 17], KEYS[2 * QUEUE_KEYS + 18]
local usage_hours = KEYS[2 * QUEUE_KEYS + 19]
-- The position of the first key that only this script has.
local OWN_KEYS = 2 * QUEUE_KEYS + SHARED_KEYS + 1

-- The number of the stored format.  Increase it if older versions would misread what this one writes:
-- the first write then stores the number, and older versions refuse the queue.
local FORMAT = 4
-- By queue, the number that it has stored.  A queue without lines, owners and files (see lines.lua,
-- owners.lua, contents.lua) has the first format, so that older versions can still use it.
local format_of = {}
-- The first index of the input queue that waits in lines; false if there are no lines.
local lines_from
-- Since when the service is paused, ms since 1970: then the input queue delivers nothing.
local paused_at
-- "<since> <last seen>", ms since 1970, while results without a reader have stopped deliveries (see
-- deliver.lua), and whether deliveries wait now for room in the sink.
local sink_full, is_blocked
-- By queue, the places that its large entries take beyond the first (see contents.lua).
local more_places = {}
for _, q in ipairs({ own, peer }) do
    local known
    if q == input then
        known = redis.call('HMGET', q.meta, 'format', 'places', 'lined', 'paused', 'full', 'blocked')
        lines_from, paused_at, sink_full, is_blocked = known[3], known[4], known[5], known[6]
    else
        known = redis.call('HMGET', q.meta, 'format', 'places')
    end
    local format = known[1]
    more_places[q] = tonumber(known[2] or 0)
    if format and tonumber(format) > FORMAT then
        return redis.error_reply('NEWER_FORMAT ' .. format .. ' ' .. FORMAT)
    end
    format_of[q] = tonumber(format or 1)
end

-- By queue, the last index, if this call has read it or assigned one.
local last_index = {}

-- A Redis without free memory refuses a script whose first write may need some, and accepts all writes
-- after a first one that needs none.  Only puts should fail then: stored entries must still be delivered,
-- answered and deleted.  So every other script starts with a write that needs no memory.
local function write_although_full()
    redis.call('HDEL', own.meta, 'nothing')
end

-- One call of a script has one time, so that all the times that it stores agree.
local called_at_ms
local function now_ms()
    if not called_at_ms then
        local time = redis.call('TIME')
        called_at_ms = time[1] * 1000 + math.floor(time[2] / 1000)
    end
    return called_at_ms
end

local function ring(which)
    redis.call('PUBLISH', channel, which)
end

-- Wake the followers of requests.  open: none of them has ended, so those that wait for the end sleep on.
-- The last word says so.  It is empty otherwise, as a request id may be any word.  Older versions take
-- both for ids that nobody follows.
local function ring_events(request_ids, open)
    ring('events ' .. table.concat(request_ids, ' ') .. (open and ' \29open' or ' '))
end

-- Indexes are text, because a Lua number is exact only up to 2^53.  In members of sorted sets they have
-- leading zeros, so that the order of texts is that of the numbers.
local function padded(index)
    return string.rep('0', 20 - #index) .. index
end

local function unpadded(digits)
    return (string.gsub(digits, '^0+', ''))
end

local function length(q)
    return redis.call('XLEN', q.lanes[0]) + redis.call('XLEN', q.lanes[1])
end

-- The positions of an entry's fields, in the order in which put.lua writes them.
local REQUEST_ID, TAGS, STORED_AT, DATA, PATH, CONTENT_TYPE, OWNER = 2, 4, 6, 8, 10, 12, 14

-- Says whether an entry of lane 1 goes before the entries of all owners.  Those of the service's own token
-- always do.  Those of a token with the right to it have a last field `u`.
local function is_urgent(fields)
    return fields[OWNER - 1] ~= 'o' or fields[#fields - 1] == 'u'
end

local function read(q, index, lane)
    local id = index .. '-0'
    for number = lane or 1, lane or 0, -1 do
        local found = redis.call('XRANGE', q.lanes[number], id, id)
        if found[1] then
            return found[1][2], number
        end
    end
    return nil
end
