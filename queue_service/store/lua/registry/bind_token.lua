-- bind_token: write the record of a token again, unless it was revoked or written since.
--
-- keys     1  the tokens                                      (see tokens.py)
-- argv     1  channel of the tokens    2  id    3  record as it was read    4  new record
-- returns  1 when it was written
if redis.call('HGET', KEYS[1], ARGV[2]) ~= ARGV[3] then
    return 0
end
redis.call('HSET', KEYS[1], ARGV[2], ARGV[4])
redis.call('HINCRBY', KEYS[1], 'revision', 1)
redis.call('PUBLISH', ARGV[1], 'tokens')
return 1
