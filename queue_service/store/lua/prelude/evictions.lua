-- prelude/evictions: what a full queue drops for a new entry.
-- uses: contents, entries, lists, outbox, owners, reads, rules
--
-- The owner with most entries loses its oldest one; the new entry counts for the owner that puts it.
-- So no owner can push out the entries of another by putting more, and an owner without entries
-- always gets a place.  Without owned entries the oldest of all is dropped.  Results that their owners
-- have read are dropped before all of these (see reads.lua).
--
-- `holders` counts what each owner has, so that nothing here looks at more than a few of them.
-- Jobs that wait for their time count for their owner, and are not dropped.

local eviction = {}

-- How many entries a call may drop beyond the one that each new one takes the place of: a
-- capacity that was lowered is reached soon, and no call takes long.
local to_shrink = 100

-- The first entry of the service's own.  No index lists those, so this scans the queue; `own_from`
-- remembers how far, so that no entry is scanned twice.
local function first_unowned(q)
    local CHUNK, MOST = 10, 100
    local first
    for lane = 0, 1 do
        local field, looked, found = 'own_from' .. lane, 0, nil
        local from = redis.call('HGET', q.meta, field) or '0'
        repeat
            local items = redis.call('XRANGE', q.lanes[lane], from .. '-0', '+', 'COUNT', CHUNK)
            for _, item in ipairs(items) do
                from = string.match(item[1], '^%d+')
                if Owners.owner_of(item[2][REQUEST_ID]) == '' then
                    found = from
                    break
                end
                from = string.format('%.0f', tonumber(from) + 1)
            end
            looked = looked + #items
        until found or #items < CHUNK or looked >= MOST
        redis.call('HSET', q.meta, field, from)
        if found and (not first or tonumber(found) < tonumber(first)) then
            first = found
        end
    end
    return first
end

local function first_of_owner(q, owner)
    if owner == '' then
        return first_unowned(q)
    end
    local normal, urgent = Lists.ends(q, owner, 0), Lists.ends(q, owner, 1)
    if normal and urgent then
        return tonumber(normal) < tonumber(urgent) and normal or urgent
    end
    return normal or urgent
end

-- The owners with most entries, also "" for the service's own, most first: {owner, how many}.
local function who_has_most(q)
    local SOME = 10
    local total = length(q) + (q == input and redis.call('XLEN', delayed) or 0)
    local without = tonumber(redis.call('ZSCORE', q.holders, '') or 0)
    local owners = { { '', total + without } }
    local found = redis.call('ZREVRANGE', q.holders, 0, SOME - 1, 'WITHSCORES')
    for position = 1, #found, 2 do
        if found[position] ~= '' then
            owners[#owners + 1] = { found[position], tonumber(found[position + 1]) }
        end
    end
    table.sort(owners, function(a, b)
        return a[2] > b[2] or a[2] == b[2] and a[1] < b[1]
    end)
    return owners
end

-- The entry that goes for one more under this name, nil when none may.
function eviction.next(q, name)
    local oldest_of_all = Entries.oldest(q)
    if not oldest_of_all or format_of[input] < Owners.OWNED_FORMAT then
        return oldest_of_all
    end
    Owners.write_now()
    local owner, owners = Owners.owner_of(name), who_has_most(q)
    local mine = owner == '' and 0 or tonumber(redis.call('ZSCORE', q.holders, owner) or 0)
    for _, one in ipairs(owners) do
        mine = one[1] == owner and one[2] or mine
    end
    local oldest_owner = Owners.owner_of(read(q, oldest_of_all)[REQUEST_ID])
    local most = owners[1][2]
    if mine == 0 and oldest_owner ~= '' then
        -- If several owners have most, the oldest entry decides.
        local count = tonumber(redis.call('ZSCORE', q.holders, oldest_owner) or 0)
        if count == most then
            return oldest_of_all
        end
    end
    for _, one in ipairs(owners) do
        if mine > 0 and one[2] <= mine + 1 then
            break
        end
        local index = first_of_owner(q, one[1])
        if index then
            return index
        end
    end
    return first_of_owner(q, owner) or mine == 0 and oldest_of_all or nil
end

-- Drop entries until there is room for one more with this data, under this name, as far as this call
-- may.  `stored` counts what takes up capacity, delayed jobs too.  Returns how many places are free now.
function eviction.make_room(q, stored, capacity, name, data)
    local _, left = Reads.is_full(q, stored, #data, capacity, Owners.owner_of(name), true)
    local gone = stored - left
    while Contents.is_full(q, stored - gone, #data, capacity) and (gone == 0 or to_shrink > 0) do
        local index = eviction.next(q, name)
        if not index then
            break
        end
        local places = more_places[q]
        if q == input and next(Rules.webhooks) then
            Outbox.note_deleted(q, read(q, index), index)
        end
        Entries.remove(q, index)
        to_shrink = to_shrink - (gone > 0 and 1 or 0)
        gone = gone + 1 + places - more_places[q]
    end
    return gone
end

return eviction
