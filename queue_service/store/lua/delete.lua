-- delete: remove entries for all groups, whoever holds them.
--
-- argv     4  then the indexes
-- returns  for each index 1, or 0 when there was no such entry
write_although_full()
local results = {}
for position = 4, #ARGV do
    results[#results + 1] = remove(own, ARGV[position]) and 1 or 0
end
settle()
return results
