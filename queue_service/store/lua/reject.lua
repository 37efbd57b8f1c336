-- reject: a subscriber gives deliveries back; they go out again.
--
-- argv     4  group
--          then for each delivery: user, index, attempt ("0" for whichever it holds), code, reason
-- returns  for each delivery 1, or 0 when it was no longer this user's
write_although_full()
local gid = ARGV[4]

local function give_back(uid, index, record, code, reason)
    if code == 'Shutdown' then
        -- The worker is leaving; the entry has done nothing wrong.
        record.attempt = record.attempt - 1
        put_back(own, gid, index, record, 'j')
        return
    end
    note_error(own, gid, index, code, reason, uid)
    if code == 'EngineDied' then
        note_death(own, gid, index, uid)
        if is_poison(gid, index) then
            end_hold(own, gid, uid, index)
            record.state = 'r'
            write_record(own, gid, index, record)
            end_by_policy(gid, index, record, 'PoisonJob')
            return
        end
    end
    put_back(own, gid, index, record, 'j', true)
end

local results = {}
for position = 5, #ARGV, 5 do
    local uid, index, attempt, code, reason = unpack(ARGV, position, position + 4)
    local record = record_of(own, gid, index)
    if record and record.state == 'h' and record.uid == uid
        and (attempt == '0' or record.attempt == tonumber(attempt))
    then
        give_back(uid, index, record, code, reason)
        results[#results + 1] = 1
    else
        clear_stop(gid, uid, index)
        results[#results + 1] = 0
    end
end
settle()
return results
