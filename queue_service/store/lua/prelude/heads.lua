-- prelude/heads: the first entry of each owner's line (see lines.lua).

local heads = {}

-- What was read in this call, by owner and lane.
local read_heads = {}

-- The first index of an owner's line in a lane.
function heads.of(owner, lane)
    local from = owner .. SEP .. lane .. SEP
    local head = read_heads[from]
    if not head then
        local beyond = owner .. SEP .. lane .. ' '
        local member =
            redis.call('ZRANGEBYLEX', lines, '[' .. from, '(' .. beyond, 'LIMIT', 0, 1)[1]
        if not member then
            return nil
        end
        local index = unpadded(string.sub(member, #from + 1))
        local fields = read(own, index, lane)
        head = { index = index, member = member, fields = fields, lane = lane,
            urgent = owner == '' or fields and is_urgent(fields) }
        read_heads[from] = head
    end
    return head
end

-- The next entry of an owner in a lane, and the index that decides how long the owner has waited.
-- A priority that may not overtake other owners overtakes the owner's own entries in lane 0.
function heads.next_of(owner, account, lane)
    local first = account.waiting[1] > 0 and heads.of(owner, 1)
    if lane == 1 then
        return first and first.urgent and first, first and tonumber(first.index)
    end
    local head = account.waiting[0] > 0 and heads.of(owner, 0)
    if not first or first.urgent then
        return head, head and tonumber(head.index)
    end
    local since = tonumber(first.index)
    return first, head and math.min(since, tonumber(head.index)) or since
end

-- The first entry has left the line.
function heads.forget(owner, lane)
    read_heads[owner .. SEP .. lane .. SEP] = nil
end

return heads
