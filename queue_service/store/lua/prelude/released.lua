-- prelude/released: which user may have an entry that is to be delivered again.

local released = {}

-- Whether this user may have a released entry now: a rejected one goes to another user first, a
-- reserved one to its own user while that one is connected, and one that must run alone to its own
-- user while its window is open.  Its engine may load for minutes, or not come back.
function released.may_have(gid, record, uid, others)
    if record.state == 'j' then
        return record.uid ~= uid or not others
    elseif record.state == 'a' and record.uid ~= uid then
        local window = redis.call('HGET', own.subscribers,
            gid .. SEP .. record.uid .. SEP .. 'window')
        return tonumber(window or 0) == 0
    elseif record.state == 'o' and record.uid ~= uid then
        local reserved = redis.call('HGET', own.subscribers,
            gid .. SEP .. record.uid .. SEP .. 'reserved')
        return tonumber(reserved or 0) == 0
    end
    return true
end

-- The equal share does not limit what this user held before, nor what another user rejected: the
-- user that holds least may be the one that may not have it.
function released.is_beyond_level(record, uid)
    local is_own = record.state == 'o' or record.state == 'a'
    return is_own and record.uid == uid or record.state == 'j' and record.uid ~= uid
end

return released
