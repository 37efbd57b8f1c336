-- prelude/bulk: the lowest priority, for the lines of batches.
-- uses: writes
--
-- An entry is in bulk if its account begins with "~" (see putter.py).  It lies in lane 0 and waits in
-- the line of that account, so nothing else is stored of it, and an older version delivers it as
-- the entry of one more owner.  Workers get it when no other entry may go.
--
-- Others could come for ever, so bulk has its turn after EVERY of them: `passed` of `shares` counts
-- the entries that went before waiting bulk since bulk went last.  Between two such turns, EVERY others
-- start, so an entry with fewer ahead of it is delayed by one run of bulk.
local bulk = {}
local EVERY = 20
local MARK = '~'

local waits, passed, changed

function bulk.is_bulk(owner)
    return string.sub(owner, 1, 1) == MARK
end

-- Returns the account whose limits hold for a bulk account.
function bulk.base_of(owner)
    return string.sub(owner, 2)
end

-- Says whether bulk waits, new or for another attempt.
function bulk.waits()
    if waits == nil then
        waits = redis.call('ZRANGEBYLEX', lines, '[' .. MARK, '(\127', 'LIMIT', 0, 1)[1] ~= nil
        passed = waits and tonumber(redis.call('HGET', shares, 'passed') or 0) or 0
    end
    return waits
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
