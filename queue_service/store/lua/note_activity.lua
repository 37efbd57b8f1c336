-- note_activity: count runs that have ended.
-- writes
--
-- keys     62  the sums of each minute, a ring of slots: "minute runs failed wait run", times in ms
--          63  the latest runs: "end wait run failed", times in ms
-- argv     4   slots of the ring
--          5   runs that are kept
--          6   for how long both are kept, in ms
--          then for each run: its wait in ms, its time in ms, 1 if it failed, else 0
-- returns  nothing
local ring, latest = KEYS[OWN_KEYS], KEYS[OWN_KEYS + 1]
local now = now_ms()
local minute = math.floor(now / 60000)
local slot = minute % tonumber(ARGV[4])

local sums = { 0, 0, 0, 0 }
-- The slot may still have the sums of another day.
local known = redis.call('HGET', ring, slot)
if known then
    local at, runs, failed, wait, run = string.match(known, '^(%d+) (%d+) (%d+) (%d+) (%d+)$')
    if tonumber(at) == minute then
        sums = { tonumber(runs), tonumber(failed), tonumber(wait), tonumber(run) }
    end
end
for position = 7, #ARGV, 3 do
    local wait, run, failed = ARGV[position], ARGV[position + 1], ARGV[position + 2]
    sums = { sums[1] + 1, sums[2] + failed, sums[3] + wait, sums[4] + run }
    redis.call('LPUSH', latest, string.format('%.0f %s %s %s', now, wait, run, failed))
end
redis.call('HSET', ring, slot,
    string.format('%.0f %.0f %.0f %.0f %.0f', minute, sums[1], sums[2], sums[3], sums[4]))
redis.call('LTRIM', latest, 0, ARGV[5] - 1)
redis.call('PEXPIRE', ring, ARGV[6])
redis.call('PEXPIRE', latest, ARGV[6])
