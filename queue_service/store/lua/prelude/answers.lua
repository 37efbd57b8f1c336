-- prelude/answers: results, and errors in their place.
-- uses: contents, entries, evictions, owners, reads, rules, tickets, usage
--
-- The sink reserves a place for the result of each held input entry.  An error takes that place: the
-- call that stores it also ends the hold.
local answered = false

-- Tags of an answer: those of its entry, with `extra` over them.  The entry's contents stay its own.
local function laid_over(text, extra)
    local tags = Contents.without_marks(cjson.decode(text))
    for name, value in pairs(extra) do
        tags[name] = value
    end
    return cjson.encode(tags)
end

-- Store the result or the error of an input entry.  Its place was reserved, or the sink evicts.
local function answer(request_id, tags, data, now)
    if Rules.sink_evicts then
        Evictions.make_room(peer, length(peer) + more_places[peer], Rules.sink_capacity, request_id, data)
    end
    Entries.append(peer, 0, { 'r', request_id, 't', tags, 'a', now, 'd', data, 'p', '', 'c', '' })
    answered = true
end

-- Whether the sink has room for a result that has no place reserved.  What was read makes room.
local function sink_has_room(request_id)
    return Rules.sink_evicts or Contents.sink_room() > 0
        or Reads.make_room(1, Owners.owner_of(request_id)) > 0
end

-- The request expires: its client learns that from a result, or from the ticket alone if the sink
-- has no place.
local function expire_request(request_id, index, tags, now, has_place)
    if index then
        Usage.note_end(index, 'expired')
        Entries.remove(input, index)
    end
    if has_place then
        local extra = { errorCode = 'Expired', errorType = 'timeout', lastCode = '504' }
        answer(request_id, laid_over(tags, extra), 'it was not done by the time set for it', now)
    end
    Tickets.end_ticket(request_id, 'expired', 'Expired', now, 'timeout')
end

local function flush()
    if answered then
        answered = false
        ring(peer_role)
    end
end

return {
    laid_over = laid_over, answer = answer, sink_has_room = sink_has_room,
    expire_request = expire_request, flush = flush,
}
