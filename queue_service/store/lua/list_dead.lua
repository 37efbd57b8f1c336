-- list_dead: some dead letters, the oldest first, without their data.
-- uses: dead_letters
--
-- argv     4  number to go on after, "0" for the beginning
--          5  the choice (JSON): code, reason, request_id, owner, each optional
--          6  most letters
-- returns  {"" or the number to go on after, {index, request id, tags, stored at, path,
--          content type, lane, bytes, reason, code, sentence, attempts, user, {users whose
--          engines died}, parked at, type or ""}...}
local found, go_on = DeadLetters.next_letters(cjson.decode(ARGV[5]), ARGV[4], '+inf', tonumber(ARGV[6]))
local reply = { go_on }
for _, one in ipairs(found) do
    reply[#reply + 1] = DeadLetters.render_letter(one.index, one.letter)
end
return reply
