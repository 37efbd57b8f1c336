-- delete: remove entries for all groups, whoever holds them; a worker that does is told to stop.
--
-- argv     4  owner: "" for any, else only its entries are removed
--          then the indexes
-- returns  for each index 1, or 0 when there was no such entry
write_although_full()
local results = {}
for position = 5, #ARGV do
    local index = ARGV[position]
    local fields = ARGV[4] ~= '' and read(own, index)
    if ARGV[4] == '' or fields and owner_of(fields[REQUEST_ID]) == ARGV[4] then
        local workers = role == 'input' and workers_that_hold(index) or {}
        results[#results + 1] = remove(own, index) and 1 or 0
        for _, worker in ipairs(workers) do
            set_stop(worker.gid, worker.uid, index, worker.attempt, 'deleted')
        end
    else
        results[#results + 1] = 0
    end
end
settle()
return results
