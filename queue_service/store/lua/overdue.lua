-- overdue: take back what subscribers have held for longer than `max_idle`.
-- uses: groups, records, redelivery, rules, writes
-- writes
--
-- Only from the named subscribers: the caller has their connections and notifies them.  Another
-- process does this for its own subscribers, or their leases end.
--
-- argv     4  then for each subscriber: group, user, session
-- returns  {ms until the next deadline or -1, {group, user, index, attempt}...}
write_although_full()
local LIMIT = 500 -- deliveries looked at in one call
local now = now_ms()

local sessions = {}
for position = 4, #ARGV, 3 do
    sessions[ARGV[position] .. SEP .. ARGV[position + 1]] = ARGV[position + 2]
end

local reply = { -1 }
local sentence = 'it was held for longer than max_idle, ' .. Rules.max_idle_ms / 1000 .. ' s'
local over = redis.call('ZRANGEBYSCORE', own.deadlines, '-inf', now, 'LIMIT', 0, LIMIT)
for _, member in ipairs(over) do
    local gid, uid, digits = string.match(member, '^([^\31]*)\31([^\31]*)\31(%d+)$')
    local index, subscriber = unpadded(digits), gid .. SEP .. uid
    local record = Records.record_of(own, gid, index)
    if not record or record.state ~= 'h' or record.uid ~= uid then
        Writes.later('ZREM', own.deadlines, member)
    elseif sessions[subscriber]
        and redis.call('HGET', own.subscribers, subscriber .. SEP .. 'session')
            == sessions[subscriber]
    then
        reply[#reply + 1] = { gid, uid, index, record.attempt }
        Records.note_error(own, gid, index, 'MaxIdle', sentence, uid, 'timeout')
        Redelivery.put_back(own, gid, index, record, 'j', { type = 'timeout' })
    end
end
if #reply > 1 then
    Groups.may_open_windows_elsewhere()
end
-- The next deadline is read from what is stored.
flush()

local soonest = redis.call('ZRANGEBYSCORE', own.deadlines, '(' .. now, '+inf', 'WITHSCORES',
    'LIMIT', 0, 1)
if #over == LIMIT and #reply > 1 then
    reply[1] = 0
elseif soonest[2] then
    reply[1] = tonumber(soonest[2]) - now
end
return reply
