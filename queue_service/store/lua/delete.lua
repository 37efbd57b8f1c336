-- delete: remove entries for all groups, also those that a subscriber holds; a worker stops its run.
-- uses: entries, groups, outbox, owners, records, rules, stops
-- writes
--
-- argv     4  owner: "" for any, else only its entries are removed
--          5  owner of the reader that has taken them, "" for one that may delete what others hold
--          then the indexes
-- returns  for each index 1, or 0 when there was no such entry
write_although_full()
local taker = ARGV[5]

-- Whether a worker of another owner received it between the get and this call.
local function is_kept(index)
    for _, gid in ipairs(taker ~= '' and Groups.groups_of(own).gids or {}) do
        local record = Records.record_of(own, gid, index)
        if record and record.state == 'h' and Owners.owner_of(record.uid) ~= taker then
            return true
        end
    end
    return false
end

local results = {}
for position = 6, #ARGV do
    local index = ARGV[position]
    local fields = (ARGV[4] ~= '' or next(Rules.webhooks)) and read(own, index)
    local is_its = ARGV[4] == '' or fields and Owners.owner_of(fields[REQUEST_ID]) == ARGV[4]
    if is_kept(index) then
        redis.call('ZREM', own.taken, index)
        results[#results + 1] = 0
    elseif is_its then
        local workers = role == 'input' and Groups.workers_that_hold(index) or {}
        -- A worker without a subscription takes an entry and deletes it, and puts its result later.
        if fields and not redis.call('ZSCORE', own.taken, index) then
            Outbox.note_deleted(own, fields, index)
        end
        results[#results + 1] = Entries.remove(own, index) and 1 or 0
        for _, worker in ipairs(workers) do
            Stops.set_stop(worker.gid, worker.uid, index, worker.attempt, 'deleted')
        end
    else
        results[#results + 1] = 0
    end
end
return results
