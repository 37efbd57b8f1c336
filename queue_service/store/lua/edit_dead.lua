-- edit_dead: change the data or the tags of a dead letter before it is replayed.
-- uses: dead_letters
-- writes
--
-- argv     4  index
--          5  "1" when there is new data
--          6  the new data
--          7  tags (JSON), merged into the letter's; null removes one
-- returns  1, or 0 when there is no such letter
local index = ARGV[4]
local letter = DeadLetters.letter_of(index)
if not letter then
    return 0
end
if ARGV[5] == '1' then
    letter.size = #ARGV[6]
    redis.call('HSET', own.dead_data, index, ARGV[6])
end
local tags = cjson.decode(letter.tags)
for name, value in pairs(cjson.decode(ARGV[7])) do
    tags[name] = value ~= cjson.null and value or nil
end
letter.tags = next(tags) and cjson.encode(tags) or '{}'
redis.call('HSET', own.dead, index, cmsgpack.pack(letter))
return 1
