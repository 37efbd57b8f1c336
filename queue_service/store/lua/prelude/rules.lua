-- prelude/rules: the limits and policies of the queue, as rules.py writes them.
local EXPECTED = {
    capacity = 'number', evicts = 'boolean', sink_capacity = 'number', sink_evicts = 'boolean',
    place_bytes = 'number', sink_place_bytes = 'number', result_places = 'number',
    max_delivery = 'number', has_retry_policy = 'boolean', dead_message_policy = 'string',
    max_dead_letters = 'number', max_idle_ms = 'number', fair = 'boolean',
    idempotency_ms = 'number', max_events = 'number', max_event_bytes = 'number',
    max_log_bytes = 'number', events_ms = 'number', workers_gid = 'string', open = 'boolean', closed_accounts = 'table',
    webhooks = 'table', usage_ms = 'number',
}
local rules = cjson.decode(ARGV[3])
for name, kind in pairs(EXPECTED) do
    if type(rules[name]) ~= kind then
        error('rule ' .. name .. ': expected a ' .. kind .. ', got ' .. type(rules[name]), 0)
    end
end
for name in pairs(rules) do
    if not EXPECTED[name] then
        error('rule ' .. tostring(name) .. ': prelude/rules.lua does not know it', 0)
    end
end

return rules
