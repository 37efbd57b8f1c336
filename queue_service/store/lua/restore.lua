-- restore: a response with taken entries could not be sent; other reads see the entries again.
-- writes
--
-- argv     4  then the indexes
-- returns  how many were still taken
write_although_full()
local count = 0
for position = 4, #ARGV do
    count = count + redis.call('ZREM', own.taken, ARGV[position])
end
if count > 0 then
    ring(role)
end
return count
