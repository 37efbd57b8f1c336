-- prelude/bulk: the lowest priority, for the lines of batches.
-- uses: lines, writes
--
-- An entry is in bulk if its account begins with "~" (see putter.py).  It lies in lane 0 and waits in
-- the line of that account, so nothing else is stored of it, and an older version delivers it as
-- the entry of one more owner.  Workers get it when no other entry may go.
--
-- Others could come for ever, so bulk has its turn after EVERY of them: `passed` of `shares` counts
-- the entries that went before waiting bulk since bulk went last.  Between two such turns, EVERY others
-- start, so an entry with fewer ahead of it is delayed by one run of bulk.
--
-- `bulk` of `shares` says that there may be bulk.  Without it, and without an account of bulk, a
-- delivery does not look for bulk in `lines`.
local bulk = {}
local EVERY = 20
local MARK = '~'

local is_waiting, passed, changed

function bulk.is_bulk(owner)
    return Lines.is_bulk(owner)
end

-- Returns the account whose limits hold for a bulk account.
function bulk.base_of(owner)
    return string.sub(owner, 2)
end

-- The accounts count what is new, but not what waits for another attempt: that is only in `lines`.
local function look()
    local may_come, may_come_back = Lines.noted('bulk'), false
    for owner, account in pairs(Lines.accounts()) do
        if bulk.is_bulk(owner) then
            if account.waiting[0] + account.waiting[1] > 0 then
                return true
            end
            may_come, may_come_back = true, may_come_back or account.runs + account.delayed > 0
        end
    end
    if not may_come then
        return false
    end
    if redis.call('ZRANGEBYLEX', lines, '[' .. MARK, '(\127', 'LIMIT', 0, 1)[1] then
        return true
    end
    -- What runs may fail and wait again, also by an older version that does not know this field.
    if not may_come_back and Lines.noted('bulk') then
        Writes.later('HDEL', shares, 'bulk')
    end
    return false
end

-- Says whether bulk waits, new or for another attempt.
function bulk.waits()
    if is_waiting == nil then
        is_waiting = look()
        passed = is_waiting and tonumber(Lines.noted('passed') or 0) or 0
    end
    return is_waiting
end

function bulk.is_due()
    return bulk.waits() and passed >= EVERY
end

function bulk.note_delivery(owner)
    if bulk.is_bulk(owner) then
        passed, changed = 0, true
    elseif bulk.waits() then
        passed, changed = passed + 1, true
    end
end

function bulk.flush()
    if changed then
        Writes.later('HSET', shares, 'passed', passed)
        changed = false
    end
end

return bulk
