-- newest: where the newest entries that a filter wants begin, looking from the end.
-- uses: entries, lists
--
-- argv     4  filter (JSON)
--          5  how many are wanted
--          6  the index below which to look, "" for the end
-- returns  {how many were found, the lowest of them or "", index below which to go on or ""}
local SCAN_LIMIT = 200 -- entries looked at in one call
local filter, most, now = cjson.decode(ARGV[4]), tonumber(ARGV[5]), now_ms()
local owner, below = filter.owner or '', ARGV[6]

-- The next entries of both lanes downwards, the highest index first.
local function next_entries(count)
    local first = {}
    for lane = 0, 1 do
        for _, item in ipairs(Lists.below(own, owner, lane, below, count)) do
            first[#first + 1] = item
        end
    end
    local number = function(item) return tonumber(string.match(item[1], '^%d+')) end
    table.sort(first, function(a, b) return number(a) > number(b) end)
    return first
end

local found, lowest, scanned = 0, '', 0
while scanned < SCAN_LIMIT do
    local entries = next_entries(20)
    for position = 1, math.min(20, #entries) do
        local index = string.match(entries[position][1], '^%d+')
        below, scanned = index, scanned + 1
        local ends = redis.call('ZSCORE', own.taken, index)
        if Entries.matches(filter, index, entries[position][2]) and not (ends and tonumber(ends) > now) then
            found, lowest = found + 1, index
            if found == most then
                return { found, lowest, '' }
            end
        end
    end
    if #entries < 20 then
        return { found, lowest, '' }
    end
end
return { found, lowest, below }
