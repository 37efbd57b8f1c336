-- delete: remove entries for all groups, whoever holds them; a worker that does is told to stop.
--
-- argv     4  owner: "" for any, else only its entries are removed
--          5  owner of who has taken them, "" for one that may delete what others hold
--          then the indexes
-- returns  for each index 1, or 0 when there was no such entry
write_although_full()
local taker = ARGV[5]

-- Whether it went to a worker of another owner while the answer of the get was on its way.
local function is_kept(index)
    for _, gid in ipairs(taker ~= '' and groups_of(own).gids or {}) do
        local record = record_of(own, gid, index)
        if record and record.state == 'h' and owner_of(record.uid) ~= taker then
            return true
        end
    end
    return false
end

local results = {}
for position = 6, #ARGV do
    local index = ARGV[position]
    local fields = ARGV[4] ~= '' and read(own, index)
    local is_its = ARGV[4] == '' or fields and owner_of(fields[REQUEST_ID]) == ARGV[4]
    if is_kept(index) then
        redis.call('ZREM', own.taken, index)
        results[#results + 1] = 0
    elseif is_its then
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
