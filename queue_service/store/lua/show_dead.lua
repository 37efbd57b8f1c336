-- show_dead: one dead letter with its data.
-- uses: dead_letters
--
-- argv     4  index
-- returns  nil when there is none, else {letter as in list_dead, data}
local letter = DeadLetters.letter_of(ARGV[4])
if not letter then
    return false
end
return { DeadLetters.render_letter(ARGV[4], letter), redis.call('HGET', own.dead_data, ARGV[4]) }
