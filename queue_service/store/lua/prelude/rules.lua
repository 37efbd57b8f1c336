-- prelude/rules: the rules of a service, by which its entries go out and end.
--
-- ARGV[3] is "<max_delivery> <policy> <most dead letters> <capacity of the sink> <1: it evicts>
-- <max_idle in ms> <1: owners have fair shares> <1: a retry policy bounds the hand-outs>
-- <most events kept of one request> <how long they are kept after the last, in ms> <the workers' group>".
local rules_read

local function rules()
    if not rules_read then
        local most, policy, kept, capacity, evicts, idle_ms, fair, bounded, most_events, events_ms, workers =
            string.match(ARGV[3],
                '^(%d+) (%a+) (%d+) (%d+) ([01]) (%d+) ([01]) ([01]) (%d+) (%d+) (%S+)$')
        rules_read = {
            max_delivery = tonumber(most), policy = policy, most_letters = tonumber(kept),
            sink_capacity = tonumber(capacity), sink_evicts = evicts == '1',
            max_idle_ms = tonumber(idle_ms), fair = fair == '1', bounded = bounded == '1',
            most_events = tonumber(most_events), events_ms = tonumber(events_ms), workers = workers,
        }
    end
    return rules_read
end
