-- prelude/lists: reads the entries of one owner, or all entries where the owner is "".
-- uses: owners

local entries = {}

-- The entries of one lane from an index on, and below another where one is given, all of them or
-- an owner's, as XRANGE gives them.  `bound` is "(" to leave out the first index itself, else "".
function entries.from(q, owner, lane, bound, index, most, below)
    if owner == '' then
        local last = below and '(' .. below .. '-0' or '+'
        return redis.call('XRANGE', q.lanes[lane], bound .. index .. '-0', last, 'COUNT', most)
    end
    local place, items = owner .. SEP .. Owners.place_of(q, lane), {}
    local from = (bound == '' and '[' or bound) .. place .. SEP .. padded(index)
    local last = '(' .. place .. (below and SEP .. padded(below) or ' ')
    local members = redis.call('ZRANGEBYLEX', owned, from, last, 'LIMIT', 0, most)
    for _, member in ipairs(members) do
        local id = unpadded(string.sub(member, #place + 2)) .. '-0'
        items[#items + 1] = redis.call('XRANGE', q.lanes[lane], id, id)[1]
    end
    return items
end

-- The same downwards, below an index, "" for the end.
function entries.below(q, owner, lane, index, most)
    if owner == '' then
        local below = index == '' and '+' or '(' .. index .. '-0'
        return redis.call('XREVRANGE', q.lanes[lane], below, '-', 'COUNT', most)
    end
    local place, items = owner .. SEP .. Owners.place_of(q, lane), {}
    local below = '(' .. place .. (index == '' and ' ' or SEP .. padded(index))
    local members = redis.call('ZREVRANGEBYLEX', owned, below, '[' .. place .. SEP, 'LIMIT', 0, most)
    for _, member in ipairs(members) do
        local id = unpadded(string.sub(member, #place + 2)) .. '-0'
        items[#items + 1] = redis.call('XRANGE', q.lanes[lane], id, id)[1]
    end
    return items
end

-- The first and the last index of one lane, of all of its entries or of an owner's.
function entries.ends(q, owner, lane)
    local first = entries.from(q, owner, lane, '', '0', 1)[1]
    if not first then
        return nil
    end
    local last = entries.below(q, owner, lane, '', 1)[1]
    return string.match(first[1], '^%d+'), string.match(last[1], '^%d+')
end

-- How many entries reads have taken at present, of all entries or of an owner's.
function entries.taken(q, owner, now)
    if owner == '' then
        return redis.call('ZCOUNT', q.taken, '(' .. now, '+inf')
    end
    local MOST, count = 1000, 0
    local indexes = redis.call('ZRANGEBYSCORE', q.taken, '(' .. now, '+inf', 'LIMIT', 0, MOST)
    for _, index in ipairs(indexes) do
        for lane = 0, 1 do
            local member = owner .. SEP .. Owners.place_of(q, lane) .. SEP .. padded(index)
            count = count + (redis.call('ZSCORE', owned, member) and 1 or 0)
        end
    end
    return count
end

return entries
