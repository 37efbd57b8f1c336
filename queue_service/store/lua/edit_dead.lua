-- edit_dead: change the data or the tags of a dead letter before it is replayed.
-- uses: contents, dead_letters
-- writes
--
-- argv     4  index
--          5  "1" when there is new data
--          6  the new data
--          7  tags (JSON), merged into the letter's; null removes one
--          8  the file (JSON) that is the new data, "" for none
-- returns  1, or 0 when there is no such letter
local index = ARGV[4]
local letter = DeadLetters.letter_of(index)
if not letter then
    return 0
end
local tags = cjson.decode(letter.tags)
local before = letter.tags
if ARGV[5] == '1' then
    letter.size = #ARGV[6]
    redis.call('HSET', own.dead_data, index, ARGV[6])
    -- The new data takes the place of a payload outside Redis; files that it names stay.
    Contents.change_payload(tags, ARGV[8])
end
for name, value in pairs(cjson.decode(ARGV[7])) do
    tags[name] = value ~= cjson.null and value or nil
end
letter.tags = next(tags) and cjson.encode(tags) or '{}'
Contents.hold(letter.tags)
Contents.let_go(before)
redis.call('HSET', own.dead, index, cmsgpack.pack(letter))
return 1
