-- prelude/lines: the fair order between owners.  The entries of each owner wait in a separate line.
-- uses: contents, owners, rules, writes
--
-- An owner is an account of quotas.lua.  Its entries carry it in the field `o`: "<account>:<most at
-- once, 0 for any number>".  Entries that the service's own token puts have the owner "".
--
-- The first entry that a token puts opens the lines.  `lines_from` is its index (the field `lined` of
-- `meta`).  From then on every new entry of the input queue is a member of `lines`, "owner, lane,
-- index", until the workers' group receives it.  While it waits for another attempt it is a member
-- again, with `BACK` in place of the lane: `released` or `pauses` decide when it goes, and the member
-- only counts it.  Entries before `lines_from` are found by the group's cursors, and go before the
-- line of "".  Other groups do not use lines.
--
-- `shares` holds an account for each owner: the ms for which it used workers, how many of its entries
-- wait in each lane, how many run, the sum of the times at which these began, how many are delayed.
-- It also holds what `bulk` notes, and `time`, what the owner that was served last had used (a new owner starts there, so
-- that an owner that waits saves nothing up), and `mean`, how long runs took lately.  `running` holds,
-- by group and index, when a run began and its owner.
--
-- The lines close when no entry waits in them and none of them runs.  A service without tokens never
-- opens them, and they cost it nothing.
local line = {}
local LINES_FORMAT = 2 -- the first format with lines
local GUESSED_MS = 1000 -- how long a run takes, until one has ended
local BULK = '~' -- what the account of an entry of bulk begins with
local BACK = 'b' -- in place of the lane: the entry waits for another attempt
local LATELY_MS = 10 * 60 * 1000 -- an owner is at most this much ahead of the others
local KILL_MS = 60 * 1000 -- the price of an engine that an owner's entry has killed
local BROKEN_OFF_MS = 5 * 1000 -- the price of a run that a cancel or a time limit has stopped

local accounts, changed_accounts, all_read = {}, {}, false
local noted = {} -- what else `shares` held when it was read
local bulk_has_come = false
-- Owners that were idle when they were read.  If the others have caught up, `flush` removes their
-- accounts.
local idle_when_read = {}
local owners_of_ended = {} -- by group and index, of the runs that ended in this call
local prices = {} -- what these runs cost beyond their time, in ms
local busy -- owners with entries that wait or run; all that matters is whether there are two
local clock, clock_changed

-- Returns the owner of an entry, and how many of its entries may run at once, 0 for any number.
function line.owner_of(fields)
    if fields[OWNER - 1] ~= 'o' then
        return '', 0
    end
    local owner, most = string.match(fields[OWNER], '^([^:]*):(%d+)$')
    return owner, tonumber(most)
end

local function clock_of_lines()
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

function line.account_of(owner)
    local account = accounts[owner]
    if not account then
        account = parse_account(not all_read and redis.call('HGET', shares, SEP .. owner))
        accounts[owner] = account
    end
    return account
end

function line.is_bulk(owner)
    return string.sub(owner, 1, 1) == BULK
end

local function is_idle(account)
    return account.waiting[0] + account.waiting[1] + account.runs + account.delayed == 0
end

-- Returns the accounts of all owners that have entries or are ahead of the others, and of "", which may
-- have entries from before the lines.
function line.accounts()
    if not all_read then
        local found = redis.call('HGETALL', shares)
        for position = 1, #found, 2 do
            local owner = string.match(found[position], '^\31(.*)$')
            if not owner then
                noted[found[position]] = found[position + 1]
            elseif not accounts[owner] then
                accounts[owner] = parse_account(found[position + 1])
                idle_when_read[owner] = is_idle(accounts[owner]) or nil
            end
        end
        all_read = true
        line.account_of('')
    end
    return accounts
end

-- Returns what another module has noted in `shares`, nil for nothing.
function line.noted(name)
    line.accounts()
    return noted[name]
end

local function open_lines(index)
    lines_from = index
    format_of[input] = math.max(format_of[input], LINES_FORMAT)
    redis.call('HSET', input.meta, 'lined', index, 'format', format_of[input])
end

-- Says whether an entry of this index was put after the lines opened.
function line.covers(index)
    return lines_from and tonumber(index) >= tonumber(lines_from)
end

local function member_of(owner, lane, index)
    return owner .. SEP .. lane .. SEP .. padded(index)
end

function line.enter(index, lane, fields)
    local owner = line.owner_of(fields)
    if not lines_from then
        if owner == '' then
            return
        end
        open_lines(index)
    end
    local account = line.account_of(owner)
    if account.waiting[0] + account.waiting[1] == 0 then
        account.used = math.max(account.used, clock_of_lines().time)
    end
    account.waiting[lane] = account.waiting[lane] + 1
    changed_accounts[owner] = true
    bulk_has_come = bulk_has_come or line.is_bulk(owner)
    redis.call('ZADD', lines, 0, member_of(owner, lane, index))
end

function line.leave(index, lane, fields)
    if not line.covers(index) then
        return
    end
    local owner = line.owner_of(fields)
    if redis.call('ZREM', lines, member_of(owner, lane, index)) == 1 then
        local account = line.account_of(owner)
        account.waiting[lane] = account.waiting[lane] - 1
        changed_accounts[owner] = true
    else
        line.go_again(index, fields)
    end
end

-- A token's entry waits for another attempt, and counts as waiting for its token's limits.
function line.come_back(gid, index)
    local owner = owners_of_ended[gid .. SEP .. index]
    if owner and owner ~= '' then
        redis.call('ZADD', lines, 0, member_of(owner, BACK, index))
    end
end

-- The entry no longer waits for another attempt.
function line.go_again(index, fields)
    redis.call('ZREM', lines, member_of((line.owner_of(fields)), BACK, index))
end

-- Returns how many of an owner's entries wait for another attempt.
function line.count_back(owner)
    local from = owner .. SEP .. BACK
    return redis.call('ZLEXCOUNT', lines, '[' .. from .. SEP, '(' .. from .. ' ')
end

-- Does what `leave` does, for a caller that does not have the entry's fields.
function line.leave_if_in(index, lane)
    local fields = line.covers(index) and read(input, index, lane)
    if fields then
        line.leave(index, tonumber(lane), fields)
    end
end

-- An entry with a start time is in no line until then, but its owner's limits count it.
function line.count_delayed(fields, by)
    local owner = line.owner_of(fields)
    if owner == '' then
        return
    end
    if not lines_from then
        local last = last_index[input] or tonumber(redis.call('HGET', input.meta, 'last') or 0)
        open_lines(string.format('%.0f', last + 1))
    end
    local account = line.account_of(owner)
    account.delayed = math.max(0, account.delayed + by)
    changed_accounts[owner] = true
end

function line.remove_delayed(id)
    local found = redis.call('XRANGE', delayed, id, id)
    if found[1] then
        redis.call('XDEL', delayed, id)
        Owners.note_owned('d', found[1][2][REQUEST_ID], Owners.padded_id(id), false)
        line.count_delayed(found[1][2], -1)
        Contents.leave(input, found[1][2][TAGS])
    end
    return found[1] and found[1][2]
end

-- Notes which owner is served: a new owner starts with what this one has used.
function line.serve(owner)
    clock_of_lines().time = math.max(clock_of_lines().time, line.account_of(owner).used)
    clock_changed = true
end

-- Takes an entry out of its owner's line.
function line.take(owner, lane, member)
    local account = line.account_of(owner)
    redis.call('ZREM', lines, member)
    account.waiting[lane] = account.waiting[lane] - 1
    changed_accounts[owner] = true
end

function line.begin_run(gid, index, owner, now)
    local account = line.account_of(owner)
    account.runs, account.since = account.runs + 1, account.since + now
    changed_accounts[owner] = true
    redis.call('HSET', running, gid .. SEP .. index, string.format('%.0f ', now) .. owner)
end

-- Says whether entries of other owners wait or run.  Only for the workers' group.
function line.has_rivals(owner)
    if not busy then
        busy = {}
        for _, rank in ipairs({ 0, -1 }) do
            -- `lines` is sorted by owner, so the first and the last member show whether there are two.
            local member = redis.call('ZRANGE', lines, rank, rank)[1]
            if member then
                busy[string.match(member, '^[^\31]*')] = true
            end
        end
        for other, account in pairs(line.accounts()) do
            if account.waiting[0] + account.waiting[1] + account.runs > 0 then
                busy[other] = true
            end
        end
        if line.has_unseen(0) or line.has_unseen(1) then
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

-- An entry of this owner has killed the engine of this user.  The engine may load for minutes, which
-- are charged to no run.  Without a price, an owner with many such entries would always have used least
-- and be served first.  Entries that fail within a second have killed the same engine.
function line.note_kill(gid, index, uid)
    local SAME_DEATH_MS = 1000
    local now, died = now_ms(), redis.call('HGET', shares, 'died')
    local at, who = string.match(died or '0 ', '^(%d+) (.*)$')
    if who ~= uid or now - tonumber(at) > SAME_DEATH_MS then
        redis.call('HSET', shares, 'died', string.format('%.0f ', now) .. uid)
        prices[gid .. SEP .. index] = KILL_MS
    end
end

-- A cancel or a time limit has stopped the run.  Code that cannot be interrupted occupies the worker for
-- longer than the delivery lasts.  Without a price, an owner could stop each run after a millisecond and
-- use workers for free.
function line.note_broken_off(gid, index)
    prices[gid .. SEP .. index] = prices[gid .. SEP .. index] or BROKEN_OFF_MS
end

-- The run has ended, in whatever way: charges its time to the owner.
function line.end_run(gid, index)
    local text = redis.call('HGET', running, gid .. SEP .. index)
    if not text then
        return
    end
    redis.call('HDEL', running, gid .. SEP .. index)
    local began, owner = string.match(text, '^(%d+) (.*)$')
    owners_of_ended[gid .. SEP .. index] = owner
    local account, ran_ms = line.account_of(owner), math.max(1, now_ms() - tonumber(began))
    account.runs, account.since = account.runs - 1, account.since - tonumber(began)
    local most = math.max(account.used, clock_of_lines().time + LATELY_MS)
    account.used = math.min(account.used + ran_ms + (prices[gid .. SEP .. index] or 0), most)
    changed_accounts[owner] = true
    clock.mean, clock_changed = 0.9 * clock.mean + 0.1 * ran_ms, true
end

-- Returns what an owner has used, including its runs under way; each counts as one of usual length at
-- least, so that an owner cannot start many at once for free.
function line.share_of(account, now)
    local elapsed = account.runs * now - account.since
    return account.used + math.max(account.runs * clock_of_lines().mean, elapsed)
end

-- Does the same for an owner whose only waiting entries are retries.  It starts at the current `time`,
-- so that it saves nothing up.
function line.share_of_owner(owner, now)
    local account = line.account_of(owner)
    account.used = math.max(account.used, clock_of_lines().time)
    return line.share_of(account, now)
end

function line.flush()
    for owner in pairs(idle_when_read) do
        changed_accounts[owner] = true
    end
    for owner in pairs(changed_accounts) do
        local account = accounts[owner]
        if is_idle(account) and account.used <= clock_of_lines().time then
            Writes.later('HDEL', shares, SEP .. owner)
        else
            Writes.later('HSET', shares, SEP .. owner, string.format('%.0f %.0f %.0f %.0f %.0f %.0f',
                account.used, account.waiting[0], account.waiting[1], account.runs,
                account.since, account.delayed))
        end
    end
    changed_accounts = {}
    if bulk_has_come then
        Writes.later('HSET', shares, 'bulk', 1)
        bulk_has_come = false
    end
    if clock_changed then
        Writes.later('HSET', shares, 'time', string.format('%.0f', clock.time))
        Writes.later('HSET', shares, 'mean', string.format('%.3f', clock.mean))
        clock_changed = false
    end
end

-- Says whether a lane has entries from before the lines that the workers' group has not received.
function line.has_unseen(lane)
    local cursor = redis.call('HGET', input.groups, Rules.workers_gid .. SEP .. 'cursor' .. lane)
    return redis.call('XRANGE', input.lanes[lane], '(' .. (cursor or '0') .. '-0',
        '(' .. lines_from .. '-0', 'COUNT', 1)[1] ~= nil
end

-- Closes the lines if they are empty.  Called after all writes: it reads what they left.
function line.close()
    if redis.call('EXISTS', lines, running) > 0 then
        return
    end
    local workers = Rules.workers_gid
    if redis.call('HEXISTS', input.members, workers) == 1 then
        if line.has_unseen(0) or line.has_unseen(1) then
            return
        end
        -- The group received everything after its cursors from the lines, so the cursors move to the
        -- end; otherwise it would receive these entries again.
        local last = redis.call('HGET', input.meta, 'last') or '0'
        redis.call('HSET', input.groups, workers .. SEP .. 'cursor0', last,
            workers .. SEP .. 'cursor1', last)
    end
    for _, account in pairs(line.accounts()) do
        if account.delayed > 0 then
            return
        end
    end
    redis.call('UNLINK', shares)
    redis.call('HDEL', input.meta, 'lined')
    lines_from, accounts, changed_accounts, all_read, clock = false, {}, {}, false, nil
end

return line
