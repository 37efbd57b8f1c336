-- reject: a subscriber gives deliveries back, and their entries are delivered again.
-- uses: dead_letter_policy, groups, lines, records, redelivery, stops
-- writes
--
-- argv     4  group
--          then for each delivery: user, index, attempt ("0" for whichever it holds), code, reason,
--          type of the failure or "", pauses, "1" when the same user is to run it again, alone,
--          "1" when an engine died under entries of several owners
-- pauses   separated by commas, the pauses in ms after the first attempt, the second and so on; the
--          last one counts for all further attempts; "x" means no further attempt
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
        -- The worker is leaving, so this does not count as an attempt.
        record.attempt = record.attempt - 1
        Redelivery.put_back(own, gid, index, record, 'j', nil, true)
        return
    end
    local uncharged = false
    Records.note_error(own, gid, index, said.code, said.reason, uid, said.type ~= '' and said.type or nil)
    if said.code == 'EngineDied' then
        local is_first = Records.deaths_of(own, gid, index).most == 0
        Records.note_death(own, gid, index, uid)
        if said.uncharged and is_first then
            -- An entry of another owner may have killed the engine.  This one runs alone from now on, so
            -- it can be exempted once only.
            record.attempt = record.attempt - 1
            uncharged = true
        elseif role == 'input' and lines_from then
            Lines.note_kill(gid, index, uid)
        end
        if DeadLetterPolicy.is_poison(gid, index) then
            Groups.end_hold(own, gid, uid, index)
            record.state = 'r'
            Records.write_record(own, gid, index, record)
            DeadLetterPolicy.end_by_policy(gid, index, record, 'PoisonJob')
            return
        end
    end
    local pause = not uncharged and role == 'input' and pause_after(record.attempt, said.pauses)
    Redelivery.put_back(own, gid, index, record, said.alone and 'a' or 'j',
        { type = said.type, is_last = pause == 'x', pause_ms = tonumber(pause or 0) }, uncharged)
end

local results = {}
for position = 5, #ARGV, 9 do
    local uid, index, attempt = unpack(ARGV, position, position + 2)
    local record = Records.record_of(own, gid, index)
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
        Stops.clear_stop(gid, uid, index)
        results[#results + 1] = 0
    end
end
return results
