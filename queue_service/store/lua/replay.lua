-- replay: put dead letters back at the tail, each under its request id and a new index.
-- uses: contents, dead_letters, entries, events, evictions, logs, owners, reads, request_ids, rules,
--       tickets
-- writes
--
-- An unread error of the request is removed from the sink, so that a request has one answer.
--
-- argv     4  number to go on after, "0" for the beginning
--          5  last number, "" for that of now
--          6  the choice (JSON): ids, or code, reason, request_id, owner
--          7  most letters
-- returns  {last number, "" or the number to go on after, "full", "ended" or "",
--          {{index, new index, request id}...}, {indexes without a letter},
--          {indexes whose request id is in the queue already}}
local capacity, evicts = Rules.capacity, Rules.evicts
local last = DeadLetters.last_number(ARGV[5])
local found, go_on = DeadLetters.next_letters(cjson.decode(ARGV[6]), ARGV[4], last, tonumber(ARGV[7]))
local stored = length(own) + more_places[own] + (role == 'input' and redis.call('XLEN', delayed) or 0)
if role == 'sink' and not evicts then
    stored = stored + Contents.reserved()
end

local function withdraw_errors(request_id)
    local indexes = { RequestIds.first_of(peer, request_id) or nil }
    for _, member in ipairs(RequestIds.repeated(peer, request_id)) do
        indexes[#indexes + 1] = unpadded(string.sub(member, #request_id + 2))
    end
    for _, index in ipairs(indexes) do
        local fields, lane = read(peer, index)
        if fields and cjson.decode(fields[TAGS]).errorCode then
            Entries.remove(peer, index, lane, request_id, fields[TAGS])
        end
    end
end

local function put_again(index, letter)
    if role == 'input' then
        withdraw_errors(letter.request_id)
    end
    local data = redis.call('HGET', own.dead_data, index)
    stored = stored - Evictions.make_room(own, stored, capacity, letter.request_id, data)
    local fields = { 'r', letter.request_id, 't', letter.tags, 'a', letter.stored_at, 'd', data,
        'p', letter.path, 'c', letter.content_type }
    if letter.owner then
        fields[OWNER - 1], fields[OWNER] = 'o', letter.owner
        if letter.token then
            fields[OWNER + 1], fields[OWNER + 2] = 'k', letter.token
        end
        if letter.urgent then
            fields[#fields + 1] = 'u'
            fields[#fields + 1] = 1
        end
    end
    local new_index = Entries.append(own, letter.lane, fields)
    if role == 'input' then
        Tickets.reopen_ticket(letter.request_id, letter.tags)
        Events.begin_again(letter.request_id, 1)
        Logs.begin_again(letter.request_id, 1)
    end
    DeadLetters.forget_letter(own, index, letter)
    stored = stored + Contents.places_for(own, #data)
    return { index, new_index, letter.request_id }
end

-- Whether another entry has the request id, in the queue or waiting for its time.
local function is_in_use(request_id)
    if RequestIds.first_of(own, request_id) then
        return true
    end
    local ticket = Tickets.ticket_of(request_id)
    return ticket and ticket.delayed ~= nil
end

local function is_full(letter)
    local is_too_much, left =
        Reads.is_full(own, stored, letter.size, capacity, Owners.owner_of(letter.request_id), evicts)
    stored = left
    return is_too_much and not (evicts and Evictions.next(own, letter.request_id))
end

local refusal, replayed, absent, in_use = '', {}, {}, {}
local ended_stream = redis.call('HGET', own.meta, 'ended')
for _, one in ipairs(found) do
    if not one.letter then
        absent[#absent + 1] = one.index
    elseif role == 'input' and is_in_use(one.letter.request_id) then
        in_use[#in_use + 1] = one.index
    elseif ended_stream or is_full(one.letter) then
        refusal, go_on = ended_stream and 'ended' or 'full', ''
        break
    else
        replayed[#replayed + 1] = put_again(one.index, one.letter)
    end
end
if #replayed > 0 then
    redis.call('HINCRBY', own.meta, 'replayed', #replayed)
end
if #replayed > 0 then
    ring(role)
end
return { last, go_on, refusal, replayed, absent, in_use }
