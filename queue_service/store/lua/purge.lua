-- purge: remove dead letters for good.
-- uses: dead_letters
-- writes
--
-- argv     4  number to go on after, "0" for the beginning
--          5  last number, "" for that of now
--          6  the choice (JSON): ids, or code, reason, request_id, owner
--          7  most letters
-- returns  {last number, "" or the number to go on after, how many were removed}
write_although_full()
local last, removed = DeadLetters.last_number(ARGV[5]), 0
local found, go_on = DeadLetters.next_letters(cjson.decode(ARGV[6]), ARGV[4], last, tonumber(ARGV[7]))
for _, one in ipairs(found) do
    if one.letter and DeadLetters.forget_letter(own, one.index, one.letter) then
        removed = removed + 1
    end
end
if removed > 0 then
    redis.call('HINCRBY', own.meta, 'purged', removed)
end
return { last, go_on, removed }
