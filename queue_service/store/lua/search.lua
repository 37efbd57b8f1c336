-- search: where an entry is, as one group sees it.
-- uses: groups, owners, places, records
--
-- The count of those ahead is never above what waits, and costs the same at any depth.
--
-- argv     4  group
--          5  index
--          6  the workers' group, which counts when the asking group has no members
--          7  owner: "" for any, else others' entries are not there
-- returns  nil when there is no such entry, else {"1" when this group holds it, user or "",
--          entries ahead, how good that number is (see prelude/places)}
local gid, index, workers = ARGV[4], ARGV[5], ARGV[6]
local fields, lane = read(own, index)
if not fields or ARGV[7] ~= '' and Owners.owner_of(fields[REQUEST_ID]) ~= ARGV[7] then
    return false
end
local record = Records.record_of(own, gid, index)
if record and record.state == 'h' then
    return { '1', record.uid, 0, 'exact' }
end
if redis.call('HEXISTS', own.members, gid) == 0 then
    gid = workers
    record = Records.record_of(own, gid, index)
    if record and record.state == 'h' then
        return { '0', '', 0, 'exact' }
    end
end

local ahead, quality = Places.of(gid, index, lane, record, fields)
return { '0', '', math.max(0, math.min(ahead, Groups.waiting(own, gid) - 1)), quality }
