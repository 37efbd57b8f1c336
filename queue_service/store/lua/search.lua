-- search: where an entry is, as one group sees it.
--
-- The count of those ahead is exact in a line without gaps and never above what waits; it
-- costs the same at any depth.
--
-- argv     4  group
--          5  index
--          6  the workers' group: whose line it is when the asking group reads nothing
--          7  owner: "" for any, else others' entries are not there
-- returns  nil when there is no such entry, else {"1" when this group holds it, user or "",
--          entries ahead}
local gid, index, workers = ARGV[4], ARGV[5], ARGV[6]
local fields, lane = read(own, index)
if not fields or ARGV[7] ~= '' and owner_of(fields[REQUEST_ID]) ~= ARGV[7] then
    return false
end
local record = record_of(own, gid, index)
if record and record.state == 'h' then
    return { '1', record.uid, 0 }
end
if redis.call('HEXISTS', own.members, gid) == 0 then
    gid = workers
    record = record_of(own, gid, index)
    if record and record.state == 'h' then
        return { '0', '', 0 }
    end
end

local ahead = redis.call('ZLEXCOUNT', own.released,
    '[' .. gid .. SEP, '(' .. gid .. SEP .. padded(index))
if not record and lined_from and role == 'input' and gid == workers then
    ahead = redis.call('ZLEXCOUNT', own.released, '[' .. gid .. SEP, '(' .. gid .. ' ')
        + fair_line().ahead(index, lane, fields)
elseif not record then
    local cursor = redis.call('HGET', own.groups, gid .. SEP .. 'cursor' .. lane) or '0'
    ahead = redis.call('ZLEXCOUNT', own.released, '[' .. gid .. SEP, '(' .. gid .. ' ')
        + math.max(0, tonumber(index) - tonumber(cursor) - 1)
end
return { '0', '', math.max(0, math.min(ahead, waiting(own, gid) - 1)) }
