-- count: how many entries there are, all of them or those that a filter wants.
-- uses: entries, lists, owners
--
-- Without a filter the answer costs the same at any depth; with one every entry is looked at,
-- a few in each call.
--
-- argv     4  filter (JSON), "" for none
--          5  lane, "" for both
--          6  lane at which to go on
--          7  index in it after which to go on, "0" at first
-- returns  {count of this call, lane at which to go on or "", index after which to go on}
local SCAN_LIMIT = 200 -- entries looked at in one call
local SCAN_BYTES = 1024 * 1024 -- and of their data: Redis copies it all
local wanted, now = ARGV[5], now_ms()

if ARGV[4] == '' then
    if wanted ~= '' then
        return { redis.call('XLEN', own.lanes[tonumber(wanted)]), '', '' }
    end
    local taken = redis.call('ZCOUNT', own.taken, '(' .. now, '+inf')
    return { math.max(0, length(own) - taken), '', '' }
end

local filter, from_lane, after = cjson.decode(ARGV[4]), tonumber(ARGV[6]), ARGV[7]
local owner = filter.owner or ''
if owner ~= '' and filter.from == 0 and not filter.request_id and not next(filter.tags) then
    if wanted ~= '' then
        return { Owners.count(own, owner, wanted), '', '' }
    end
    return { math.max(0, Owners.length_for(own, owner) - Lists.taken(own, owner, now)), '', '' }
end
local count, scanned, bytes = 0, 0, 0
for lane = from_lane, 1 do
    while wanted == '' or tonumber(wanted) == lane do
        local found = Lists.from(own, owner, lane, '(', after, 20)
        for _, item in ipairs(found) do
            after = string.match(item[1], '^%d+')
            bytes = bytes + #item[2][DATA]
            local ends = redis.call('ZSCORE', own.taken, after)
            if Entries.matches(filter, after, item[2]) and not (ends and tonumber(ends) > now) then
                count = count + 1
            end
        end
        scanned = scanned + #found
        if #found < 20 then
            break
        elseif scanned >= SCAN_LIMIT or bytes >= SCAN_BYTES then
            return { count, lane, after }
        end
    end
    after = '0'
end
return { count, '', '' }
