-- prelude/modules: modules are made at their first use.
--
-- Redis creates every function of a script again at each call, and a call needs few of them.  So a
-- module is a single function, `make`, until a name in it is read.
local unmade = {
    __index = function(module, name)
        local made = module.make()
        module.make = nil
        setmetatable(module, { __index = made })
        return made[name]
    end,
}
