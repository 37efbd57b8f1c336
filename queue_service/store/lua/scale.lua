-- scale: the figures of autoscaling, at a cost that grows with the workers and not with the queue.
-- uses: bulk, contents, groups, lines, owners, quotas, reads, rules, stops, tickets
-- writes
--
-- keys     62  the autoscaler's lease and last report     (see scaling.py)
-- argv     4   the workers' group
--          5   how many entries of some accounts may run at once: JSON, by account
--          6.. the fields of the report that are wanted
-- returns  {ms now, waiting, held, workers with room, last index ever given, when the oldest entry was
--          stored or "", workers {user, window, held, connected "1", about, leaving "1"}..., deadlines
--          {"start" or "finish", ms from now to the first, how many}..., the values of those fields,
--          "1" while the service is paused or its time windows are closed, how many of the waiting ones
--          another worker would get now, "1" while unread results fill the sink}
write_although_full()
-- Deadlines that lie close together are counted as one: all have the time of the first.
local MOST_STEPS, SHARE, LEAST_MS = 32, 0.25, 1000
local BEYOND = Tickets.FINISH_OFFSET - 1 -- after every time
local gid, now = ARGV[4], now_ms()

local function exact(number)
    return string.format('%.0f', number)
end

local deadlines = {}
-- Scores are times less the offset.
local function count_deadlines(kind, offset)
    local after = now - offset
    -- An older version of the service leaves jobs here that have started, until their deadline.
    redis.call('ZREMRANGEBYSCORE', due_jobs, exact(-offset), exact(after))
    for _ = 1, MOST_STEPS do
        local first = redis.call('ZRANGEBYSCORE', due_jobs, '(' .. exact(after), exact(BEYOND - offset),
            'WITHSCORES', 'LIMIT', 0, 1)[2]
        if not first then
            return
        end
        local left_ms = first + offset - now
        after = first + math.max(LEAST_MS, left_ms * SHARE)
        deadlines[#deadlines + 1] = { kind, exact(left_ms),
            redis.call('ZCOUNT', due_jobs, first, exact(after)) }
    end
end
count_deadlines('start', 0)
count_deadlines('finish', Tickets.FINISH_OFFSET)

local oldest = ''
for lane = 0, 1 do
    local first = redis.call('XRANGE', own.lanes[lane], '-', '+', 'COUNT', 1)[1]
    if first and (oldest == '' or tonumber(first[2][STORED_AT]) < tonumber(oldest)) then
        oldest = first[2][STORED_AT]
    end
end

local workers = {}
for _, subscriber in ipairs(redis.call('ZRANGE', own.leases, 0, -1)) do
    local group, uid = string.match(subscriber, '^([^\31]*)\31(.*)$')
    if group == gid then
        local known = redis.call('HMGET', own.subscribers, subscriber .. SEP .. 'window',
            subscriber .. SEP .. 'held', subscriber .. SEP .. 'session', subscriber .. SEP .. 'about')
        workers[#workers + 1] = { uid, known[1], known[2], known[3] ~= '' and '1' or '0', known[4],
            Stops.is_leaving(gid, uid) and '1' or '0' }
    end
end

local is_paused = paused_at or not Rules.open
local waiting = Groups.waiting(own, gid)

local sink_room = math.huge
if not Rules.sink_evicts then
    -- Each delivery needs room for its result, as in deliver.lua, where results that were read make room.
    sink_room = math.floor((Contents.sink_room() + Reads.count('')) / Rules.result_places)
end

-- Returns how many more entries of an owner may start now, as far as its time window, the limit of its
-- tokens and its share of the sink allow.  limits: by account.
local function may_start(owner, account, limits)
    if Rules.closed_accounts[owner] then
        return 0
    end
    local base, runs = owner, account.runs
    if Bulk.is_bulk(owner) then
        -- As in deliver.lua: its owner's other entries count for the limits of bulk.
        base = Bulk.base_of(owner)
        runs = runs + Lines.account_of(base).runs
    end
    local left = limits[base] and math.max(0, limits[base] - runs) or math.huge
    local results = base ~= '' and Quotas.is_scarce(sink_room) and Owners.length_for(sink, base) or 0
    if results > 0 then
        left = math.min(left, Quotas.results_left(results - Reads.count(base) + runs, sink_room))
    end
    return left
end

-- Counts the waiting entries that their tokens hold back.  An entry that waits for another attempt may be
-- in `pauses`, and then it is not among the waiting ones.  If in doubt, this counts too few: a job that
-- can run must never be missed.
local function held_back()
    local limits = lines_from and cjson.decode(ARGV[5]) or {}
    local owners = {}
    for owner in pairs(lines_from and Rules.closed_accounts or {}) do
        owners[owner] = Lines.account_of(owner)
    end
    if next(limits) or lines_from and Quotas.is_scarce(sink_room) then
        for owner, account in pairs(Lines.accounts()) do
            -- The service's own token, whose owner is "", has no limits.
            owners[owner] = owner ~= '' and account or nil
        end
    end
    local blocked, back = 0, 0
    for owner, account in pairs(owners) do
        local in_line = account.waiting[0] + account.waiting[1]
        local left = may_start(owner, account, limits)
        blocked = blocked + math.max(0, in_line - left)
        if left < math.huge then
            back = back + math.max(0, Lines.count_back(owner) - math.max(0, left - in_line))
        end
    end
    return blocked + math.max(0, back - Groups.group_value(own, gid, 'paused'))
end

local deliverable = 0
if not is_paused and waiting > 0 then
    deliverable = math.min(waiting - held_back(), sink_room)
end

return { exact(now), waiting, Groups.group_value(own, gid, 'held'),
    Groups.group_value(own, gid, 'roomy'), redis.call('HGET', own.meta, 'last') or '0', oldest,
    workers, deadlines, redis.call('HMGET', KEYS[OWN_KEYS], unpack(ARGV, 6)),
    is_paused and '1' or '0', math.max(0, deliverable), Reads.fill_the_sink() and '1' or '0' }
