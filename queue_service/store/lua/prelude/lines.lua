-- prelude/lines: fair order between owners.  The entries of each owner wait in a line of their own.
-- uses: gaps, owners, rules, writes
--
-- An owner here is an account of quotas.lua; its entries say so in the field `o`: "<account>:<most at
-- once, 0 for any>".
-- What the service's own token puts is owned by "".  With the first entry of a token the lines
-- open: from its index on, `lined_from`, every new entry of the input queue is in `lines` until the
-- workers' group has it (owner, lane, index), and again, in the lane `BACK`, while it waits for another
-- attempt: then `released` or `pauses` have it too, and this only counts it.  The group's cursors
-- find the entries before `lined_from`, which are the head of the line of "".  Other groups do not
-- use lines.
--
-- `shares` has an account of each owner: used (ms for which it had workers), how many wait in each
-- lane, how many run, the sum of the times at which those began, how many are delayed.  And of all:
-- `time` (what the last one served had used: a newcomer begins there, so that nobody saves up) and
-- `mean` (how long one ran lately).  `running` has, by group and index, who runs since when.
--
-- When nothing waits in lines and nothing of them runs they are closed; a service without tokens
-- never opens them, and pays nothing for them.
local fair = {}
local LINED_FORMAT = 2 -- the format from which on there may be lines
local GUESSED_MS = 1000 -- how long an entry runs, while none has ended
local BACK = 'b' -- the lane of what came back
local LATELY_MS = 10 * 60 * 1000 -- how much of what an owner is ahead of the others counts
local KILL_MS = 60 * 1000 -- what an owner pays for an engine that one of its entries has killed
local BROKEN_OFF_MS = 5 * 1000 -- and for a run that did not end by itself

local accounts, changed_accounts, all_read = {}, {}, false
-- Owners whose debt may be paid by now: then their accounts are forgotten.
local idle_when_read = {}
local owners_of_ended = {} -- of the runs that ended in this call
local prices = {} -- what those of them cost beyond their time, in ms
local busy -- owners with entries that wait or are at workers; at least two if there are two
local clock, clock_changed

-- The owner of an entry, and how many of the owner's entries may run at once, 0 for any number.
function fair.owner_of(fields)
    if fields[OWNER - 1] ~= 'o' then
        return '', 0
    end
    local owner, most = string.match(fields[OWNER], '^([^:]*):(%d+)$')
    return owner, tonumber(most)
end

local function line_clock()
    if not clock then
        local known = redis.call('HMGET', shares, 'time', 'mean')
        clock = { time = tonumber(known[1] or 0), mean = tonumber(known[2] or GUESSED_MS) }
    end
    return clock
end

local function parse_account(text)
    local used, normal, urgent, runs, since, held_off =
        string.match(text or '0 0 0 0 0 0', '^(%S+) (%S+) (%S+) (%S+) (%S+) (%S+)$')
    return {
        used = tonumber(used), waiting = { [0] = tonumber(normal), [1] = tonumber(urgent) },
        runs = tonumber(runs), since = tonumber(since), delayed = tonumber(held_off),
    }
end

function fair.account_of(owner)
    local account = accounts[owner]
    if not account then
        account = parse_account(not all_read and redis.call('HGET', shares, SEP .. owner))
        accounts[owner] = account
    end
    return account
end

local function is_idle(account)
    return account.waiting[0] + account.waiting[1] + account.runs + account.delayed == 0
end

-- Every owner that waits, runs or is in debt; and "", which may have entries before the lines.
function fair.accounts()
    if not all_read then
        local found = redis.call('HGETALL', shares)
        for position = 1, #found, 2 do
            local owner = string.match(found[position], '^\31(.*)$')
            if owner and not accounts[owner] then
                accounts[owner] = parse_account(found[position + 1])
                idle_when_read[owner] = is_idle(accounts[owner]) or nil
            end
        end
        all_read = true
        fair.account_of('')
    end
    return accounts
end

local function open_lines(index)
    lined_from = index
    format_of[input] = math.max(format_of[input], LINED_FORMAT)
    redis.call('HSET', input.meta, 'lined', index, 'format', format_of[input])
end

local function is_lined(index)
    return lined_from and tonumber(index) >= tonumber(lined_from)
end

local function line_member(owner, lane, index)
    return owner .. SEP .. lane .. SEP .. padded(index)
end

function fair.enter(index, lane, fields)
    local owner = fair.owner_of(fields)
    if not lined_from then
        if owner == '' then
            return
        end
        open_lines(index)
    end
    local account = fair.account_of(owner)
    if account.waiting[0] + account.waiting[1] == 0 then
        account.used = math.max(account.used, line_clock().time)
    end
    account.waiting[lane] = account.waiting[lane] + 1
    changed_accounts[owner] = true
    redis.call('ZADD', lines, 0, line_member(owner, lane, index))
end

function fair.leave(index, lane, fields)
    if not is_lined(index) then
        return
    end
    local owner = fair.owner_of(fields)
    if redis.call('ZREM', lines, line_member(owner, lane, index)) == 1 then
        local account = fair.account_of(owner)
        account.waiting[lane] = account.waiting[lane] - 1
        changed_accounts[owner] = true
    else
        fair.go_again(index, fields)
    end
end

-- A token's entry waits for another attempt, and counts as waiting again for its token's limits.
function fair.come_back(gid, index)
    local owner = owners_of_ended[gid .. SEP .. index]
    if owner and owner ~= '' then
        redis.call('ZADD', lines, 0, line_member(owner, BACK, index))
    end
end

-- It waits no more.
function fair.go_again(index, fields)
    redis.call('ZREM', lines, line_member((fair.owner_of(fields)), BACK, index))
end

-- How many of an owner's entries came back and wait.
function fair.count_back(owner)
    local from = owner .. SEP .. BACK
    return redis.call('ZLEXCOUNT', lines, '[' .. from .. SEP, '(' .. from .. ' ')
end

-- The entry is removed; the caller does not have its fields.
function fair.leave_if_in(index, lane)
    local fields = is_lined(index) and read(input, index, lane)
    if fields then
        fair.leave(index, tonumber(lane), fields)
    end
end

-- An entry that does not compete before its time still counts as its owner's.
function fair.count_delayed(fields, by)
    local owner = fair.owner_of(fields)
    if owner == '' then
        return
    end
    if not lined_from then
        local last = last_index[input] or tonumber(redis.call('HGET', input.meta, 'last') or 0)
        open_lines(string.format('%.0f', last + 1))
    end
    local account = fair.account_of(owner)
    account.delayed = math.max(0, account.delayed + by)
    changed_accounts[owner] = true
end

function fair.remove_delayed(id)
    local found = redis.call('XRANGE', delayed, id, id)
    if found[1] then
        redis.call('XDEL', delayed, id)
        Owners.note_owned('d', found[1][2][REQUEST_ID], Owners.padded_id(id), false)
        fair.count_delayed(found[1][2], -1)
    end
    return found[1] and found[1][2]
end

-- This owner is served: an owner that arrives now starts from its `used`.
function fair.serve(owner)
    line_clock().time = math.max(line_clock().time, fair.account_of(owner).used)
    clock_changed = true
end

-- Take an owner's entry out of its line.
function fair.take(owner, lane, member)
    local account = fair.account_of(owner)
    redis.call('ZREM', lines, member)
    account.waiting[lane] = account.waiting[lane] - 1
    changed_accounts[owner] = true
end

function fair.begin_run(gid, index, owner, now)
    local account = fair.account_of(owner)
    account.runs, account.since = account.runs + 1, account.since + now
    changed_accounts[owner] = true
    redis.call('HSET', running, gid .. SEP .. index, string.format('%.0f ', now) .. owner)
end

-- Whether other owners have entries that wait or are at workers.  Only for the workers' group.
function fair.has_rivals(owner)
    if not busy then
        busy = {}
        for _, rank in ipairs({ 0, -1 }) do
            -- Lines are in the order of their owners, what came back among them.
            local member = redis.call('ZRANGE', lines, rank, rank)[1]
            if member then
                busy[string.match(member, '^[^\31]*')] = true
            end
        end
        for other, account in pairs(fair.accounts()) do
            if account.waiting[0] + account.waiting[1] + account.runs > 0 then
                busy[other] = true
            end
        end
        if fair.has_unseen(0) or fair.has_unseen(1) then
            busy[''] = true
        end
    end
    for other in pairs(busy) do
        if other ~= owner then
            return true
        end
    end
    return false
end

-- The engine of this user died, and entries of one owner are the cause.  Loading another engine may
-- take minutes of which no run is charged: without a price an owner with many such entries would
-- always have used least.  Entries that fail in the same moment have killed one engine.
function fair.note_kill(gid, index, uid)
    local SAME_DEATH_MS = 1000
    local now, died = now_ms(), redis.call('HGET', shares, 'died')
    local at, who = string.match(died or '0 ', '^(%d+) (.*)$')
    if who ~= uid or now - tonumber(at) > SAME_DEATH_MS then
        redis.call('HSET', shares, 'died', string.format('%.0f ', now) .. uid)
        prices[gid .. SEP .. index] = KILL_MS
    end
end

-- A cancel or a time limit stopped the run.  Code that cannot be interrupted occupies the worker for
-- longer than the delivery: without a price an owner could end every run after a millisecond.
function fair.note_broken_off(gid, index)
    prices[gid .. SEP .. index] = prices[gid .. SEP .. index] or BROKEN_OFF_MS
end

-- The hold has ended, however it did: its owner has used the worker for that time.
function fair.end_run(gid, index)
    local text = redis.call('HGET', running, gid .. SEP .. index)
    if not text then
        return
    end
    redis.call('HDEL', running, gid .. SEP .. index)
    local began, owner = string.match(text, '^(%d+) (.*)$')
    owners_of_ended[gid .. SEP .. index] = owner
    local account, ran_ms = fair.account_of(owner), math.max(1, now_ms() - tonumber(began))
    account.runs, account.since = account.runs - 1, account.since - tonumber(began)
    local most = math.max(account.used, line_clock().time + LATELY_MS)
    account.used = math.min(account.used + ran_ms + (prices[gid .. SEP .. index] or 0), most)
    changed_accounts[owner] = true
    clock.mean, clock_changed = 0.9 * clock.mean + 0.1 * ran_ms, true
end

-- What an owner has used, with what runs now: at least as long as one usually does.
function fair.share_of(account, now)
    local elapsed = account.runs * now - account.since
    return account.used + math.max(account.runs * line_clock().mean, elapsed)
end

-- The same for an owner whose only waiting entries are retries: it starts at the current clock, so
-- that it cannot save up time.
function fair.share_of_owner(owner, now)
    local account = fair.account_of(owner)
    account.used = math.max(account.used, line_clock().time)
    return fair.share_of(account, now)
end

function fair.flush()
    for owner in pairs(idle_when_read) do
        changed_accounts[owner] = true
    end
    for owner in pairs(changed_accounts) do
        local account = accounts[owner]
        if is_idle(account) and account.used <= line_clock().time then
            Writes.later('HDEL', shares, SEP .. owner)
        else
            Writes.later('HSET', shares, SEP .. owner, string.format('%.0f %.0f %.0f %.0f %.0f %.0f',
                account.used, account.waiting[0], account.waiting[1], account.runs,
                account.since, account.delayed))
        end
    end
    changed_accounts = {}
    if clock_changed then
        Writes.later('HSET', shares, 'time', string.format('%.0f', clock.time))
        Writes.later('HSET', shares, 'mean', string.format('%.3f', clock.mean))
        clock_changed = false
    end
end

-- Whether the workers' group has yet to look at entries from before the lines.
function fair.has_unseen(lane)
    local cursor = redis.call('HGET', input.groups, Rules.workers_gid .. SEP .. 'cursor' .. lane)
    return redis.call('XRANGE', input.lanes[lane], '(' .. (cursor or '0') .. '-0',
        '(' .. lined_from .. '-0', 'COUNT', 1)[1] ~= nil
end

-- Close the lines when they are empty; called when everything is written.
function fair.close()
    if redis.call('EXISTS', lines, running) > 0 then
        return
    end
    local workers = Rules.workers_gid
    if redis.call('HEXISTS', input.members, workers) == 1 then
        if fair.has_unseen(0) or fair.has_unseen(1) then
            return
        end
        -- Whatever its cursors have not seen was taken from the lines.
        local last = redis.call('HGET', input.meta, 'last') or '0'
        redis.call('HSET', input.groups, workers .. SEP .. 'cursor0', last,
            workers .. SEP .. 'cursor1', last)
    end
    for _, account in pairs(fair.accounts()) do
        if account.delayed > 0 then
            return
        end
    end
    redis.call('UNLINK', shares)
    redis.call('HDEL', input.meta, 'lined')
    lined_from, accounts, changed_accounts, all_read, clock = false, {}, {}, false, nil
end

-- How many of an owner's wait in its line, in front of an index unless that is nil.
local function lined_below(owner, lane, index)
    local from = owner .. SEP .. lane .. SEP
    return redis.call('ZLEXCOUNT', lines, '[' .. from,
        index and '(' .. from .. padded(index) or '(' .. owner .. SEP .. lane .. ' ')
end

-- The same with those of "" that wait from before the lines.
local function waits_below(owner, lane, index)
    local unlined = 0
    if owner == '' then
        local bound = is_lined(index or lined_from) and lined_from or index
        unlined = Gaps.unseen_below(Rules.workers_gid, lane, bound)
    end
    return lined_below(owner, lane, index) + unlined
end

-- Whether what an owner has in lane 1 goes before every other owner's.
local function has_right(owner)
    if owner == '' then
        return true
    end
    local from = owner .. SEP .. 1
    local member = redis.call('ZRANGEBYLEX', lines, '[' .. from .. SEP, '(' .. from .. ' ',
        'LIMIT', 0, 1)[1]
    local fields = member and read(input, unpadded(string.sub(member, #from + 2)), 1)
    return fields and is_urgent(fields)
end

-- How many entries precede one that waits for its first delivery: those of its owner, at most the same
-- number of each other owner, and those that go first.  And whether no other owner competes.
function fair.ahead(index, lane, fields)
    local owner = fair.owner_of(fields)
    local urgent = lane == 1 and is_urgent(fields)
    local mine = waits_below(owner, lane, index)
    local first = lane == 0 and waits_below(owner, 1) or 0
    local rivals, alone = 0, true
    for other, account in pairs(fair.accounts()) do
        if other ~= owner and (other == '' or account.waiting[0] + account.waiting[1] > 0) then
            local in_front = waits_below(other, 1)
            local goes_first = in_front > 0 and has_right(other)
            local beside = goes_first and 0 or in_front
            if urgent and goes_first then
                beside = Rules.fair and in_front or waits_below(other, 1, index)
            elseif not urgent then
                rivals = rivals + (goes_first and in_front or 0)
                beside = beside + waits_below(other, 0, not Rules.fair and index or nil)
            end
            if not urgent or goes_first then
                alone = alone and beside == 0
                rivals = rivals + (Rules.fair and math.min(mine + first, beside) or beside)
            end
        end
    end
    return mine + first + rivals, alone
end

return fair
