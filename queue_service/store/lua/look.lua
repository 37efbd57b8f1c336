-- look: where requests are.
-- uses: looks, request_ids
--
-- argv     4  the workers' group
--          5  the largest result that is given whole, in bytes; 0 for none
--          then the request ids
-- returns  what Looks.crew returns, then for each request what Looks.of returns
local gid, most_bytes, request_ids = ARGV[4], tonumber(ARGV[5]), { unpack(ARGV, 6) }
RequestIds.read_request_ids(own, request_ids)
RequestIds.read_request_ids(peer, request_ids)

local reply = Looks.crew(gid)
for _, request_id in ipairs(request_ids) do
    reply[#reply + 1] = Looks.of(gid, request_id, most_bytes)
end
return reply
