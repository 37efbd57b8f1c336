-- submit: put requests that are remembered, as long as there is room.
-- uses: contents, entries, evictions, lines, looks, owners, quotas, reads, request_ids, rules, tickets
-- writes
--
-- keys     62..  for each item that has one: its submission key, then the key of its putter's rate
-- argv     4  the workers' group
--          then for each item: request id, tags (JSON, with the ticket's tag), data, lane, path,
--          content type, ticket (JSON, see prelude/tickets), digest of what was asked for,
--          not before, start by, finish by (ms since 1970, "0" for none), "1" when it has a
--          submission key, putter (see prelude/quotas), "1" to say where it is then
-- returns  what Looks.crew returns, {} if no item asks, then for each item {"new" or "known", request
--          id, what Looks.of returns if the item asks}, {"conflict", request id} when the id or key
--          belongs to another request, {"full"}, {"ended"} for an ended stream, {"late", "start_by" or
--          "finish_by", ms since that time}, or what Quotas.refusal returns
local capacity, evicts, kept_ms = Rules.capacity, Rules.evicts, Rules.idempotency_ms
local now, gid = now_ms(), ARGV[4]
local STEP = 14

local function known(request_id, digest)
    local ticket = Tickets.ticket_of(request_id)
    if ticket then
        return { ticket.digest == digest and 'known' or 'conflict', request_id }
    end
    -- Put without a ticket: nothing tells whether that was the same request.
    if RequestIds.first_of(own, request_id) or RequestIds.first_of(sink, request_id) then
        return { 'conflict', request_id }
    end
    return nil
end

local appended = false

-- A job that is late already would leave a ticket and no entry, which neither the capacity nor the
-- limits of a token count.
local function lateness(item)
    for _, name in ipairs({ 'start_by', 'finish_by' }) do
        if item[name] > 0 and item[name] <= now then
            return { 'late', name, string.format('%.0f', now - item[name]) }
        end
    end
    return nil
end

local function place(item, ticket, fields)
    if item.begin > now then
        Contents.enter(input, fields)
        ticket.delayed = redis.call('XADD', delayed, '*', unpack(fields))
        if item.putter then
            Lines.count_delayed(fields, 1)
        end
        Owners.note_owned('d', item.request_id, Owners.padded_id(ticket.delayed), true)
        Tickets.set_time('begin', item.request_id, item.begin)
    else
        Entries.append(own, item.lane, fields)
        Tickets.note_due(item.request_id, ticket)
        appended = true
    end
    for kind, at in pairs({ start = item.start_by, finish = item.finish_by }) do
        if at > 0 then
            Tickets.set_time(kind, item.request_id, at)
        end
    end
end

local function store(item)
    Reads.drop_chosen(item.to_drop or {})
    local ticket = cjson.decode(item.ticket)
    ticket.put_at, ticket.digest = now, item.digest
    local fields = { 'r', item.request_id, 't', item.tags, 'a', now, 'd', item.data,
        'p', item.path, 'c', item.content_type }
    if item.putter then
        Quotas.own(fields, item.putter, item.lane)
        Quotas.note_put(item.putter, item.rate_key, now)
    end
    ticket.lane = item.lane
    place(item, ticket, fields)
    Tickets.write_ticket(item.request_id, ticket)
    if item.key then
        local wanted_ms = kept_ms + ticket.keep_ms + ticket.told_ms
        local key_ms = Quotas.key_ms(Owners.owner_of(item.request_id), wanted_ms, now)
        redis.call('SET', item.key, item.request_id, 'PX', string.format('%.0f', key_ms))
    end
end

local results, asked, next_key = { {} }, {}, OWN_KEYS
local ended = redis.call('HGET', own.meta, 'ended')
local stored = length(own) + more_places[own] + redis.call('XLEN', delayed)
for position = 5, #ARGV, STEP do
    local item = {
        request_id = ARGV[position], tags = ARGV[position + 1], data = ARGV[position + 2],
        lane = tonumber(ARGV[position + 3]), path = ARGV[position + 4],
        content_type = ARGV[position + 5], ticket = ARGV[position + 6],
        digest = ARGV[position + 7], begin = tonumber(ARGV[position + 8]),
        start_by = tonumber(ARGV[position + 9]), finish_by = tonumber(ARGV[position + 10]),
    }
    if ARGV[position + 12] ~= '' then
        item.putter = Quotas.read_putter(ARGV[position + 12])
    end
    local request_id = item.request_id
    if ARGV[position + 11] == '1' then
        item.key = KEYS[next_key]
        next_key = next_key + 1
        request_id = redis.call('GET', item.key) or request_id
    end
    if item.putter and item.putter.interval_ms > 0 then
        item.rate_key = KEYS[next_key]
        next_key = next_key + 1
    end
    local result = known(request_id, item.digest) or ended and { 'ended' } or lateness(item)
    if not result and item.putter then
        result, item.to_drop = Quotas.refusal(item.putter, Owners.owner_of(item.request_id),
            item.rate_key, now, not evicts and capacity - stored)
    end
    local is_full = Contents.is_full(own, stored, #item.data, capacity)
    if not result and is_full and not (evicts and Evictions.next(own, item.request_id)) then
        result = { 'full' }
    elseif not result then
        if is_full then
            stored = stored
                - Evictions.make_room(own, stored, capacity, item.request_id, item.data)
        end
        store(item)
        stored = stored + Contents.places_for(own, #item.data)
        result = { 'new', item.request_id }
    end
    results[#results + 1] = result
    if ARGV[position + 13] == '1' and (result[1] == 'new' or result[1] == 'known') then
        asked[#asked + 1] = result
    end
end

if appended then
    ring(role)
end
if #asked > 0 then
    flush()
    results[1] = Looks.crew(gid)
    for _, result in ipairs(asked) do
        result[3] = Looks.of(gid, result[2], 0)
    end
end
return results
