-- list_newest: request ids in the reverse order of `list`, some at a time, with what filters need.
-- uses: lists, owners, records
--
-- argv     4  "running" for what the workers hold, "input" or "sink" for the entries of a queue, "delayed"
--          for those that wait for their time
--          5  where to go on, the place of an earlier one; "" at first
--          6  most to give
--          7  owner: "" for all requests, else only this owner's
--          8  the workers' group
-- returns  {"1" if there may be more, {request id, ms since 1970 when it came there, place, tags}...}
local part, before, most, owner, gid = ARGV[4], ARGV[5], tonumber(ARGV[6]), ARGV[7], ARGV[8]
local MOST_HELD = 10000 -- the most held entries that are looked at
local reply = { '' }

local function add_entry(item, place)
    local fields = item[2]
    reply[#reply + 1] = { fields[REQUEST_ID], fields[STORED_AT], place, fields[TAGS] }
end

local function list_queue(q)
    local items = {}
    for lane = 0, 1 do
        for _, item in ipairs(Lists.below(q, owner, lane, before, most)) do
            items[#items + 1] = { tonumber(string.match(item[1], '^%d+')), item }
        end
    end
    table.sort(items, function(a, b) return a[1] > b[1] end)
    for position = 1, math.min(#items, most) do
        add_entry(items[position][2], string.format('%.0f', items[position][1]))
    end
    reply[1] = #items >= most and '1' or ''
end

local function list_delayed()
    if owner == '' then
        local found = redis.call('XREVRANGE', delayed, before == '' and '+' or '(' .. before, '-', 'COUNT', most)
        for _, item in ipairs(found) do
            add_entry(item, item[1])
        end
        reply[1] = #found == most and '1' or ''
        return
    end
    local prefix = owner .. SEP .. 'd'
    local below = '(' .. prefix .. (before == '' and ' ' or SEP .. Owners.padded_id(before))
    local ids = redis.call('ZREVRANGEBYLEX', owned, below, '[' .. prefix .. SEP, 'LIMIT', 0, most)
    for _, member in ipairs(ids) do
        local at, number = string.match(string.sub(member, #prefix + 2), '^(%d+)-(%d+)$')
        local id = (unpadded(at) == '' and '0' or unpadded(at)) .. '-'
            .. (unpadded(number) == '' and '0' or unpadded(number))
        local item = redis.call('XRANGE', delayed, id, id)[1]
        if item then
            add_entry(item, id)
        end
    end
    reply[1] = #ids == most and '1' or ''
end

-- The place is the index of its entry.  They are few: the windows of the workers.
local function list_running()
    local members = redis.call('ZRANGEBYLEX', input.holds, '[' .. gid .. SEP, '(' .. gid .. ' ',
        'LIMIT', 0, MOST_HELD)
    local indexes, limit = {}, before == '' and math.huge or tonumber(before)
    for _, member in ipairs(members) do
        local index = tonumber(string.match(member, '(%d+)$'))
        if index < limit then
            indexes[#indexes + 1] = index
        end
    end
    table.sort(indexes, function(a, b) return a > b end)
    for _, number in ipairs(indexes) do
        local index = string.format('%.0f', number)
        local record = Records.record_of(input, gid, index)
        if record and (owner == '' or Owners.owner_of(record.request_id) == owner) then
            if #reply > most then
                reply[1] = '1'
                return
            end
            reply[#reply + 1] = { record.request_id, '0', index, record.tags }
        end
    end
end

if part == 'running' then
    list_running()
elseif part == 'delayed' then
    list_delayed()
else
    list_queue(part == 'sink' and sink or input)
end
return reply
