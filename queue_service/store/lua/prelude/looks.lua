-- prelude/looks: where requests are, from their tickets and both queues.
-- uses: groups, lines, pauses, places, records, request_ids
--
-- The count of those ahead is that of `search`.

local looks = {}
local MOST_SHOWN = 1000 -- bytes of an error that are given

-- Returns {members, held, how many have room, "1" while deliveries wait for room in the sink} of the
-- workers' group, ms since 1970, and since when the service is paused or "".
function looks.crew(gid)
    local sums = redis.call('HMGET', own.groups, gid .. SEP .. 'held', gid .. SEP .. 'roomy')
    local members = redis.call('HGET', own.members, gid) or 0
    return { { members, sums[1] or 0, sums[2] or 0, is_blocked and '1' or '0' }, string.format('%.0f', now_ms()), paused_at or '' }
end

local still_waiting = {}
local function ahead_of(gid, index, lane, record, fields)
    still_waiting[gid] = still_waiting[gid] or Groups.waiting(own, gid)
    local ahead, quality = Places.of(gid, index, lane, record, fields)
    return math.max(0, math.min(ahead, still_waiting[gid] - 1)), quality
end

-- The result as `get` gives it, {} for one that is larger than `most_bytes` or that a read has taken.
local function whole(index, result, most_bytes)
    local taken_until = most_bytes > 0 and redis.call('ZSCORE', peer.taken, index)
    if #result[DATA] > most_bytes or taken_until and tonumber(taken_until) > now_ms() then
        return {}
    end
    return { index, result[REQUEST_ID], result[TAGS], result[STORED_AT], result[DATA], result[PATH],
        result[CONTENT_TYPE] }
end

-- most_bytes: the largest result that is given whole.
-- Returns {ticket (JSON) or "", input index or "", "1" when it is held, attempt, user, entries ahead,
-- stored at, sink index or "", the result's tags, lane, the end of its pause before the next attempt or
-- 0, how the last one failed {type or "", code, sentence} or {}, of a result that is an error the
-- beginning, how good the count of those ahead is (see places), the account of the token that put it
-- while it waits, else "", the result as `get` gives it or {}}.
function looks.of(gid, request_id, most_bytes)
    local index, result_index = RequestIds.first_of(own, request_id), RequestIds.first_of(peer, request_id)
    local seen = { redis.call('HGET', tickets, request_id) or '', index or '', '0', 0, '', 0, '0',
        result_index or '', '', 0, 0, {}, '', 'exact', '', {} }
    local fields, lane
    if index then
        fields, lane = read(own, index)
    end
    if fields then
        local record = Records.record_of(own, gid, index)
        seen[7], seen[10] = fields[STORED_AT], lane
        if record then
            seen[4], seen[5] = record.attempt, record.uid
            seen[11] = Pauses.of(own, gid, index)
            local failure = Records.error_of(own, gid, index)
            seen[12] = failure and { failure.type or '', failure.code, failure.sentence } or {}
        end
        if record and record.state == 'h' then
            seen[3] = '1'
        else
            seen[6], seen[14] = ahead_of(gid, index, lane, record, fields)
            seen[15] = Lines.owner_of(fields)
        end
    end
    if result_index then
        local result = read(peer, result_index)
        seen[9] = result and result[TAGS] or '{}'
        if string.find(seen[9], '"errorCode"', 1, true) then
            seen[13] = string.sub(result[DATA], 1, MOST_SHOWN)
        end
        if result then
            seen[16] = whole(result_index, result, most_bytes)
        end
        if not fields and result then
            seen[7] = result[STORED_AT]
        end
    end
    return seen
end

return looks
