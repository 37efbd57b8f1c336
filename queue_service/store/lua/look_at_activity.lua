-- look_at_activity: return how many runs have ended lately, and how they did.
--
-- keys     62  the sums of each minute, as in note_activity.lua
--          63  the latest runs, as there
-- argv     4   slots of the ring
--          5   minutes that are wanted, the current one among them
-- returns  {ms now, the sums of those minutes, oldest first, "" for one without runs; the latest runs}
local now, slots, wanted = now_ms(), tonumber(ARGV[4]), tonumber(ARGV[5])
local minute = math.floor(now / 60000)
local fields, found = {}, {}
for back = wanted - 1, 0, -1 do
    fields[#fields + 1] = (minute - back) % slots
end
local texts = redis.call('HMGET', KEYS[OWN_KEYS], unpack(fields))
for position, text in ipairs(texts) do
    local at = text and tonumber(string.match(text, '^%d+'))
    found[position] = at == minute - wanted + position and text or ''
end
return { string.format('%.0f', now), found, redis.call('LRANGE', KEYS[OWN_KEYS + 1], 0, -1) }
