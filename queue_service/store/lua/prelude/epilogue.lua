-- prelude/epilogue: writes what the modules have put off.
--
-- The loader calls `flush` behind each script that declares `writes`.  A script calls it too, where
-- it reads what it has written.  `modules` has the modules of the script, by the names of their files.

-- A module that was never made has put nothing off.
local function flush_if_made(module)
    if module and not rawget(module, 'make') then
        module.flush()
    end
end

local function flush()
    -- The end of a ticket changes owners and times, and all of these put writes off.
    flush_if_made(modules.tickets)
    flush_if_made(modules.usage)
    flush_if_made(modules.records)
    flush_if_made(modules.request_ids)
    flush_if_made(modules.owners)
    flush_if_made(modules.lines)
    flush_if_made(modules.writes)
    flush_if_made(modules.contents)
    flush_if_made(modules.entries)
    -- Lines can be closed once everything is stored.  A call that has not touched them may have
    -- removed the last thing that kept them open, such as a member of a group.
    if lines_from and modules.lines then
        modules.lines.close()
    end
    -- How many entries wait is known only now.
    flush_if_made(modules.groups)
    flush_if_made(modules.answers)
    flush_if_made(modules.outbox)
end
