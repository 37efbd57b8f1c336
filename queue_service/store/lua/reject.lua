-- reject: a subscriber gives deliveries back; they go out again.
--
-- argv     4  group
--          then for each delivery: user, index, attempt ("0" for whichever it holds), code, reason,
--          type of the failure or "", pauses, "1" when the same user is to run it again, alone,
--          "1" when an engine died under entries of several owners
-- pauses   with commas between them, how long the entry waits after its first attempt, its second
--          and so on, in ms, the last one after all further; "x" when no attempt is to follow
-- returns  for each delivery 1, or 0 when it was no longer this user's
write_although_full()
local gid = ARGV[4]

local function pause_after(attempt, pauses)
    local number, found = 0, nil
    for one in string.gmatch(pauses, '[^,]+') do
        number, found = number + 1, one
        if number == attempt then
            break
        end
    end
    return found
end

local function give_back(uid, index, record, said)
    if said.code == 'Shutdown' then
        -- The worker is leaving; the entry has done nothing wrong.
        record.attempt = record.attempt - 1
        put_back(own, gid, index, record, 'j', nil, true)
        return
    end
    local uncharged = false
    note_error(own, gid, index, said.code, said.reason, uid, said.type ~= '' and said.type or nil)
    if said.code == 'EngineDied' then
        local is_first = deaths_of(own, gid, index).most == 0
        note_death(own, gid, index, uid)
        if said.uncharged and is_first then
            -- It may be another owner's doing.  It runs alone from now on, so this happens once.
            record.attempt = record.attempt - 1
            uncharged = true
        elseif role == 'input' and lined_from then
            fair_line().note_kill(gid, index, uid)
        end
        if is_poison(gid, index) then
            end_hold(own, gid, uid, index)
            record.state = 'r'
            write_record(own, gid, index, record)
            end_by_policy(gid, index, record, 'PoisonJob')
            return
        end
    end
    local pause = not uncharged and role == 'input' and pause_after(record.attempt, said.pauses)
    put_back(own, gid, index, record, said.alone and 'a' or 'j',
        { type = said.type, is_last = pause == 'x', pause_ms = tonumber(pause or 0) }, uncharged)
end

local results = {}
for position = 5, #ARGV, 9 do
    local uid, index, attempt = unpack(ARGV, position, position + 2)
    local record = record_of(own, gid, index)
    if record and record.state == 'h' and record.uid == uid
        and (attempt == '0' or record.attempt == tonumber(attempt))
    then
        give_back(uid, index, record, {
            code = ARGV[position + 3], reason = ARGV[position + 4], type = ARGV[position + 5],
            pauses = ARGV[position + 6], alone = ARGV[position + 7] == '1',
            uncharged = ARGV[position + 8] == '1',
        })
        results[#results + 1] = 1
    else
        clear_stop(gid, uid, index)
        results[#results + 1] = 0
    end
end
settle()
return results
