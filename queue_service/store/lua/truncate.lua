-- truncate: remove every entry below an index, some at a time.
-- uses: entries, groups, lists, outbox, stops, usage
-- writes
--
-- argv     4  index
--          5  most entries to remove in this call
--          6  owner: "" for any, else only its entries are removed
-- returns  how many were removed; fewer than `most` means that none is left
write_although_full()
local removed, most = 0, tonumber(ARGV[5])
for lane = 0, 1 do
    local found = Lists.from(own, ARGV[6], lane, '', '0', most - removed + 1, ARGV[4])
    for _, item in ipairs(found) do
        if removed == most then
            break
        end
        local index = string.match(item[1], '^%d+')
        local workers = role == 'input' and Groups.workers_that_hold(index) or {}
        Outbox.note_deleted(own, item[2], index)
        if role == 'input' then
            Usage.note_end(index, 'canceled', item[2])
        end
        Entries.remove(own, index, lane, item[2][REQUEST_ID], item[2][TAGS])
        for _, worker in ipairs(workers) do
            Stops.set_stop(worker.gid, worker.uid, index, worker.attempt, 'deleted')
        end
        removed = removed + 1
    end
end
return removed
