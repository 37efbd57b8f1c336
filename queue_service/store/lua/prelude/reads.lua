-- prelude/reads: results that their owners have read.  They stay until the sink needs room.
-- uses: contents, entries, owners, request_ids, rules, tickets
--
-- `read_results` lists them in the order in which they were read: <time> <request id> for all, and
-- <owner> <time> <request id> for each owner (see tickets.lua).  An older version of the service removes
-- results and not their members here, so a member may be out of date.

local reads = {}

-- How many a call may drop, so that no call takes long.
local to_drop = 100
-- Owners without read results, as far as this call knows.
local without = {}

-- owner: "" for all.
local function oldest(owner)
    if without[owner] then
        return nil
    end
    local found =
        redis.call('ZRANGEBYLEX', read_results, '[' .. owner .. SEP, '(' .. owner .. ' ', 'LIMIT', 0, 1)[1]
    without[owner] = not found
    return found
end

local function taken_places()
    return length(sink) + more_places[sink]
end

-- How many there are, of all owners where the owner is "".
function reads.count(owner)
    return redis.call('ZLEXCOUNT', read_results, '[' .. owner .. SEP, '(' .. owner .. ' ')
end

local function drop(member)
    local at, request_id = string.match(member, '^[^\31]*\31(%d+)\31(.*)$')
    redis.call('ZREM', read_results, Tickets.read_members(request_id, tonumber(at)))
    local ticket = Tickets.ticket_of(request_id)
    if not (ticket and ticket.read_of and ticket.read_at == tonumber(at)) then
        return
    end
    local index = ticket.read_of
    ticket.read_of = nil
    Tickets.write_ticket(request_id, ticket)
    if Entries.remove(sink, index) then
        ticket.room = true
        Tickets.note_removed(request_id)
        redis.call('HINCRBY', sink.meta, 'read_dropped', 1)
    end
    if RequestIds.first_of(sink, request_id) then
        -- It has another result, which nobody has read.
        ticket.read_at, ticket.room = nil, nil
    end
end

-- Drop those of this owner, of all owners where it is "", until the wanted number of places is free.
-- Returns how many places that has freed.
local function free(wanted, owner)
    local before, freed = taken_places(), 0
    while freed < wanted and to_drop > 0 do
        local member = oldest(owner)
        if not member then
            break
        end
        to_drop = to_drop - 1
        drop(member)
        freed = before - taken_places()
    end
    if freed > 0 then
        Owners.write_now()
    end
    return freed
end

-- The sink has no room: drop the oldest, those of the owner that needs it first.  owner: "" where
-- it is not known.  Returns how many places that has freed.
function reads.make_room(wanted, owner)
    local freed = owner ~= '' and free(wanted, owner) or 0
    return freed + free(wanted - freed, '')
end

local function places_of(member)
    local at, request_id = string.match(member, '^[^\31]*\31(%d+)\31(.*)$')
    local ticket = Tickets.ticket_of(request_id)
    local is_current = ticket and ticket.read_of and ticket.read_at == tonumber(at)
    local fields = is_current and read(sink, ticket.read_of)
    return fields and Contents.places_of(fields[TAGS]) or 0
end

-- The oldest of an owner's, of all owners' where it is "", that are enough, for `drop_chosen`; nil if all of
-- them are not.  So a put that is refused after all has dropped nothing.  At most as many are chosen as one
-- call may drop.
-- is_enough: called with how many results and how many places go.
function reads.choose(owner, is_enough)
    local CHUNK = 10
    local chosen, results, places, after = {}, 0, 0, '[' .. owner .. SEP
    while not is_enough(results, places) do
        local members =
            redis.call('ZRANGEBYLEX', read_results, after, '(' .. owner .. ' ', 'LIMIT', 0, CHUNK)
        if #members == 0 then
            return nil
        end
        for _, member in ipairs(members) do
            if #chosen >= to_drop then
                return chosen
            end
            local gone = places_of(member)
            chosen[#chosen + 1] = member
            results, places = results + (gone > 0 and 1 or 0), places + gone
            if is_enough(results, places) then
                break
            end
        end
        after = '(' .. chosen[#chosen]
    end
    return chosen
end

-- Drop what was chosen.  Returns how many places that has freed.
function reads.drop_chosen(chosen)
    local before = taken_places()
    for _, member in ipairs(chosen) do
        to_drop = to_drop - 1
        drop(member)
    end
    if #chosen > 0 then
        Owners.write_now()
    end
    return before - taken_places()
end

-- The disk of the files has no room: drop the oldest with files until their files have that many bytes.
-- after: the member after which to look, "" at first.  Returns how many bytes these were, and after which
-- member to go on or "".
function reads.free_files(wanted, after)
    local freed = 0
    while freed < wanted and to_drop > 0 do
        local from = after == '' and '[' .. SEP or '(' .. after
        local member = redis.call('ZRANGEBYLEX', read_results, from, '( ', 'LIMIT', 0, 1)[1]
        if not member then
            return freed, ''
        end
        after, to_drop = member, to_drop - 1
        local ticket = Tickets.ticket_of(string.match(member, '^[^\31]*\31%d+\31(.*)$'))
        local fields = ticket and ticket.read_of and read(sink, ticket.read_of)
        local size = fields and Contents.size_of_files(fields[TAGS]) or 0
        if size > 0 then
            drop(member)
            freed = freed + size
        end
    end
    return freed, after
end

-- Whether one more entry is too much for a queue, also after what was read has gone.  Returns that, and
-- what is stored then.  evicts: whether an eviction may free the rest; if not, nothing is dropped
-- for an entry that does not fit.
function reads.is_full(q, stored, size, capacity, owner, evicts)
    local is_full = Contents.is_full(q, stored, size, capacity)
    if is_full and q == sink then
        local wanted = stored + Contents.places_for(q, size) - capacity
        local function is_enough(_, places)
            return places >= wanted or stored == places
        end
        if evicts or reads.choose('', is_enough) then
            stored = stored - reads.make_room(wanted, owner)
            is_full = Contents.is_full(q, stored, size, capacity)
        end
    end
    return is_full, stored
end

-- Returns how many results the sink has room for, after what was read has gone if these are too few:
-- `waiting` entries, and no more than subscribers ask for, in ARGV from a position on, `step` apart.
function reads.room_for(waiting, first, step)
    local wanted = 0
    for position = first, #ARGV, step do
        wanted = wanted + tonumber(ARGV[position])
    end
    wanted = math.min(wanted, waiting)
    local room = Contents.sink_room()
    if room < wanted * Rules.result_places then
        reads.make_room(wanted * Rules.result_places - room, '')
        room = Contents.sink_room()
    end
    return math.floor(room / Rules.result_places)
end

-- Whether this call may drop no more, and another one might.
function reads.is_spent()
    return to_drop == 0 and reads.count('') > 0
end

-- Whether the results that nobody has read leave no room for another one.  What is still running does
-- not count as much: a sink is not full while most of it waits for results.
function reads.fill_the_sink()
    local room = Contents.sink_room()
    return not Rules.sink_evicts and room < Rules.result_places
        and 2 * taken_places() >= Rules.sink_capacity and reads.count('') == 0
end

-- For how long the sink must have had room, in ms, until that counts: a reader and the workers may take
-- turns at the last place of a full one.
local ROOM_MS = 10000

-- Note whether results that nobody reads stop deliveries.  Returns "full" when they do from now on, "room"
-- when they do so no longer, else "".
function reads.note_fullness(is_blocked_now)
    local now, is_full = now_ms(), reads.fill_the_sink()
    local since, last = string.match(sink_full or '', '^(%d+) (%d+)$')
    if is_blocked_now and is_full then
        local text = string.format('%s %.0f', since or string.format('%.0f', now), now)
        redis.call('HSET', input.meta, 'full', text)
        return since and '' or 'full'
    elseif since and not is_full and now - tonumber(last) > ROOM_MS then
        redis.call('HDEL', input.meta, 'full')
        return 'room'
    end
    return ''
end

return reads
