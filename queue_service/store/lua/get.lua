-- get: read entries, without a subscriber.
-- uses: entries, groups, lines, lists, meanings, owners, records, request_ids, rules
-- writes
--
-- A read that deletes takes its entries first: other reads do not see them while the response is
-- being sent.  `delete` follows when it was sent, `restore` when that failed.
--
-- argv     4  how long a taking lasts, in ms
--          then for each read: filter (JSON), index to start at, most entries, "1" to take, else "0",
--          ("2" to look what a later read may take),
--          followed by the owner of the reader, "" for one that may take what others hold
-- returns  for each read {the index at which to go on or "", {index, request id, tags, stored at, data,
--          path, content type}...}
write_although_full()
local taken_ms = tonumber(ARGV[4])
-- The entries, and the bytes of their data, that one call may look at for all its reads together:
-- Redis serves nobody else meanwhile, and copies the data.  A read continues in another call.
local scan_left, bytes_left = 400, 1024 * 1024
local CHUNK = 40
local SAME_ID_BYTES = 8 * 1024 * 1024 -- of several results of one request id
local now = now_ms()

local function is_taken(index)
    local ends = redis.call('ZSCORE', own.taken, index)
    return ends and tonumber(ends) > now
end

-- Whether a user of another owner holds the entry of the input queue.
local function is_kept_from(taker, index)
    for _, gid in ipairs(taker ~= '' and role == 'input' and Groups.groups_of(own).gids or {}) do
        local record = Records.record_of(own, gid, index)
        if record and record.state == 'h' and Owners.owner_of(record.uid) ~= taker then
            return true
        end
    end
    return false
end

local function render(index, fields)
    return { index, fields[REQUEST_ID], fields[TAGS], fields[STORED_AT], fields[DATA],
        fields[PATH], fields[CONTENT_TYPE] }
end

local function by_request_id(filter, most, may_have, keep)
    local name = filter.owner and filter.request_id or Meanings.of(filter.request_id)
    local indexes = { RequestIds.first_of(own, name) or nil }
    for _, member in ipairs(RequestIds.repeated(own, name)) do
        indexes[#indexes + 1] = unpadded(string.sub(member, #name + 2))
    end
    local same_id_left = SAME_ID_BYTES
    for _, index in ipairs(indexes) do
        local fields = read(own, index)
        if fields and Entries.matches(filter, index, fields) and may_have(index, fields) then
            keep(index, fields)
            most, same_id_left = most - 1, same_id_left - #fields[DATA]
            if most == 0 or same_id_left <= 0 then
                break
            end
        end
    end
    return ''
end

-- The next entries of both lanes from an index on, in the order of their indexes.
local function next_entries(owner, from, count)
    local first = Lists.from(own, owner, 0, '', from, count)
    local second = Lists.from(own, owner, 1, '', from, count)
    if #second == 0 then
        return first
    end
    for _, item in ipairs(second) do
        first[#first + 1] = item
    end
    local number = function(item) return tonumber(string.match(item[1], '^%d+')) end
    table.sort(first, function(a, b) return number(a) < number(b) end)
    while #first > count do
        table.remove(first)
    end
    return first
end

local function by_index(filter, from, most, may_have, keep)
    -- Few at first, as they may be large.
    local count = next(filter.tags) and 4 or math.min(most, 4)
    while true do
        if scan_left <= 0 or bytes_left <= 0 then
            return from
        end
        local found = next_entries(filter.owner or '', from, count)
        for _, item in ipairs(found) do
            local index, fields = string.match(item[1], '^%d+'), item[2]
            if bytes_left <= 0 then
                return index
            end
            from = index
            scan_left, bytes_left = scan_left - 1, bytes_left - #fields[DATA]
            if Entries.matches(filter, index, fields) and may_have(index, fields) then
                keep(index, fields)
                most = most - 1
                if most == 0 then
                    return ''
                end
            end
        end
        if #found < count then
            return ''
        end
        from = string.format('%.0f', tonumber(from) + 1)
        count = math.min(2 * count, CHUNK)
    end
end

local results = {}
for position = 5, #ARGV, 4 do
    local filter, from = cjson.decode(ARGV[position]), ARGV[position + 1]
    local most, taking = tonumber(ARGV[position + 2]), string.sub(ARGV[position + 3], 1, 1)
    local taker = string.sub(ARGV[position + 3], 2)
    local result = { '' }
    -- A worker without a subscription takes the next entries so, and a service that is paused or
    -- closed has none for it.  A read that leaves the entries where they are shows them.
    local takes_next = role == 'input' and taking ~= '0' and not filter.request_id
    local function may_have(index, fields)
        return not is_taken(index) and not is_kept_from(taker, index)
            and not (takes_next and Rules.closed_accounts[(Lines.owner_of(fields))])
    end
    local function keep(index, fields)
        result[#result + 1] = render(index, fields)
        if taking == '1' then
            redis.call('ZADD', own.taken, now + taken_ms, index)
        end
    end
    if filter.request_id then
        result[1] = by_request_id(filter, most, may_have, keep)
    elseif not (takes_next and (paused_at or not Rules.open)) then
        result[1] = by_index(filter, from, most, may_have, keep)
    end
    results[#results + 1] = result
end
return results
