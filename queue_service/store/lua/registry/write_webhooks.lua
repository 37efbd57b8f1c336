-- write_webhooks: write the webhooks of a service, unless another process has changed them.
--
-- Every process reads them again, as after a change of a service.
--
-- keys     1  the services    2  their webhooks                 (see webhook_settings.py)
-- argv     1  channel of the registry    2  field    3  record as it was read, "" for none
--          4  new record, "" to remove it
-- returns  1 when it was written
local known = redis.call('HGET', KEYS[2], ARGV[2]) or ''
if known ~= ARGV[3] then
    return 0
end
if ARGV[4] == '' then
    redis.call('HDEL', KEYS[2], ARGV[2])
else
    redis.call('HSET', KEYS[2], ARGV[2], ARGV[4])
end
redis.call('HINCRBY', KEYS[1], '#revision', 1)
redis.call('PUBLISH', ARGV[1], 'services')
return 1
