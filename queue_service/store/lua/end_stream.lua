-- end_stream: refuse further puts, or accept them again; drop entries that no subscriber holds.
-- uses: entries, groups, outbox, records, usage
-- writes
--
-- The results of entries that are still held are stored all the same: they are not puts.
--
-- argv     4  "1" to end the stream, "0" to open it again
--          5  lane at which to go on dropping, "" to drop nothing
--          6  index in it after which to go on, "0" at first
-- returns  {entries dropped in this call, lane at which to go on or "", index after which}
write_although_full()
local MOST = 100 -- entries looked at in one call
if ARGV[4] == '1' then
    redis.call('HSET', own.meta, 'ended', 1)
else
    redis.call('HDEL', own.meta, 'ended')
end
if ARGV[5] == '' then
    return { 0, '', '' }
end

local function in_somebodys_hands(index)
    for _, gid in ipairs(Groups.groups_of(own).gids) do
        local record = Records.record_of(own, gid, index)
        if record and record.state == 'h' then
            return true
        end
    end
    return false
end

local dropped, lane, after = 0, tonumber(ARGV[5]), ARGV[6]
local found = redis.call('XRANGE', own.lanes[lane], '(' .. after .. '-0', '+', 'COUNT', MOST)
for _, item in ipairs(found) do
    after = string.match(item[1], '^%d+')
    if not in_somebodys_hands(after) then
        Outbox.note_deleted(own, item[2], after)
        if role == 'input' then
            Usage.note_end(after, 'canceled', item[2])
        end
        Entries.remove(own, after, lane, item[2][REQUEST_ID], item[2][TAGS])
        dropped = dropped + 1
    end
end
if #found == MOST then
    return { dropped, lane, after }
elseif lane == 0 then
    return { dropped, 1, '0' }
end
return { dropped, '', '' }
