-- commit: a group is done with entries.
-- uses: entries, groups, owners, records
-- writes
--
-- An entry that another user of the group holds now is left alone.
--
-- argv     4  group
--          then for each entry: user, index
-- returns  for each entry "committed", "absent" or "foreign"
write_although_full()
local gid = ARGV[4]
Entries.read_ahead(gid, 6, 2)

local results = {}
for position = 5, #ARGV, 2 do
    local uid, index = ARGV[position], ARGV[position + 1]
    local record = Records.record_of(own, gid, index)
    if record and record.state == 'h' and record.uid ~= uid then
        results[#results + 1] = 'foreign'
    elseif not record and not Owners.sees(own, gid, index) then
        results[#results + 1] = 'absent'
    elseif Entries.finish(own, gid, index, record) then
        results[#results + 1] = 'committed'
    else
        results[#results + 1] = 'absent'
    end
end
Groups.may_open_windows_elsewhere()
return results
