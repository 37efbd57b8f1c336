-- prelude/writes: writes that are put off to the end of the call.

-- Writes that wait for the end of the call, so that many entries cost one command: by key and
-- command its arguments.  Nothing that is read later in the same call is put off, but for
-- delivery records, which `records` remembers.
local put_off = {}

local function later(command, key, argument, second)
    local commands = put_off[key]
    if not commands then
        commands = {}
        put_off[key] = commands
    end
    local write = commands[command]
    if not write then
        write = {}
        commands[command] = write
    end
    write[#write + 1] = argument
    if second then
        write[#write + 1] = second
    end
end

local function flush()
    local MOST = 4000 -- arguments of one command, of which Lua's stack takes 8000
    for key, commands in pairs(put_off) do
        for command, write in pairs(commands) do
            for first = 1, #write, MOST do
                redis.call(command, key, unpack(write, first, math.min(first + MOST - 1, #write)))
            end
        end
    end
    put_off = {}
end

return {
    later = later, flush = flush,
}
