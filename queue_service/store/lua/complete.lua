-- complete: remove an input entry and store its result in the sink, in one step.
--
-- argv     4  group
--          5  sink capacity in entries
--          6  "1" when a full sink drops its oldest entry
--          then for each completion: user, index, attempt, "1" when there is a result,
--          its data, its tags (JSON, laid over the entry's)
-- returns  for each completion 1, or 0 when the delivery was no longer this user's
write_although_full()
local gid, sink_capacity, evict = ARGV[4], tonumber(ARGV[5]), ARGV[6] == '1'
local now = now_ms()
local written = false

local function laid_over(text, extra)
    if extra == '{}' then
        return text
    end
    local tags = cjson.decode(text)
    for name, value in pairs(cjson.decode(extra)) do
        tags[name] = value
    end
    return cjson.encode(tags)
end

-- The results go under the same request ids.
read_request_ids(peer, read_ahead(gid, 8, 6))

local results = {}
for position = 7, #ARGV, 6 do
    local uid, index, attempt, has_result = unpack(ARGV, position, position + 3)
    local record = record_of(own, gid, index)
    if record and record.state == 'h' and record.uid == uid
        and record.attempt == tonumber(attempt)
    then
        finish(own, gid, index, record)
        if has_result == '1' then
            if evict and length(peer) >= sink_capacity then
                remove(peer, oldest(peer))
            end
            append(peer, 0, {
                'r', record.request_id, 't', laid_over(record.tags, ARGV[position + 5]),
                'a', now, 'd', ARGV[position + 4], 'p', '', 'c', '',
            })
            written = true
        end
        results[#results + 1] = 1
    else
        results[#results + 1] = 0
    end
end

settle()
if written then
    ring(peer_role)
end
return results
