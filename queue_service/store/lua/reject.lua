-- reject: a subscriber gives deliveries back; they go out again.
--
-- argv     4  group
--          then for each delivery: user, index, attempt ("0" for whichever it holds), code
-- returns  for each delivery 1, or 0 when it was no longer this user's
write_although_full()
local gid = ARGV[4]
local results = {}
for position = 5, #ARGV, 4 do
    local uid, index, attempt, code = unpack(ARGV, position, position + 3)
    local record = record_of(own, gid, index)
    if record and record.state == 'h' and record.uid == uid
        and (attempt == '0' or record.attempt == tonumber(attempt))
    then
        if code == 'Shutdown' then
            -- The worker is leaving; the entry has done nothing wrong.
            record.attempt = record.attempt - 1
        elseif code == 'EngineDied' then
            note_death(own, gid, index, uid)
        end
        put_back(own, gid, index, record, 'j')
        results[#results + 1] = 1
    else
        results[#results + 1] = 0
    end
end
settle()
return results
