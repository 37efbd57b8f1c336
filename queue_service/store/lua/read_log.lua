-- read_log: read the log of a request.
-- uses: logs
--
-- keys     62  the log of the request
-- argv     4  request id
--          5  the number after which to go on
--          6  most events
-- returns  {number, kind, attempt, data}...
if redis.call('EXISTS', KEYS[OWN_KEYS]) == 1 then
    return Logs.entries_of(KEYS[OWN_KEYS], ARGV[5], ARGV[6])
end
return Logs.entries_of_dead(ARGV[4], ARGV[5])
