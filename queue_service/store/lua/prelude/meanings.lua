-- prelude/meanings: which entry a request id means to clients that see the entries of every owner.
-- uses: owners, request_ids

local meant = {}

-- The owners that have something under a request id, some of them.
function meant.owners(request_id, most)
    local owners, after = {}, '[' .. SEP .. request_id .. SEP
    while #owners < most do
        local member = redis.call('ZRANGEBYLEX', owned, after,
            '(' .. SEP .. request_id .. ' ', 'LIMIT', 0, 1)[1]
        if not member then
            break
        end
        local owner = string.match(string.sub(member, #request_id + 3), '^[^\31]*')
        owners[#owners + 1] = owner
        after = '(' .. SEP .. request_id .. SEP .. owner .. ' '
    end
    return owners
end

function meant.is_known(name)
    return RequestIds.first_of(input, name) or RequestIds.first_of(sink, name)
        or redis.call('HEXISTS', tickets, name) == 1
end

-- "<request id>@<owner>", as a reader of the input queue sees an owned entry; or nil.
function meant.qualified(request_id)
    local plain, owner = string.match(request_id, '^(.*)@([^@]+)$')
    return plain and owner .. Owners.OWNED .. plain
end

-- The stored name that a request id means to clients that see everything: that of the service's own
-- entry or, in the form with "@", of an owned one.  A plain id never means an owned entry: otherwise a
-- token that guesses the id could answer in place of the service's own entry after that has gone.
function meant.of(request_id)
    if format_of[input] < Owners.OWNED_FORMAT or meant.is_known(request_id) then
        return request_id
    end
    local qualified = meant.qualified(request_id)
    return qualified and meant.is_known(qualified) and qualified or request_id
end

function meant.may_mean(request_id, name)
    return Owners.owner_of(name) ~= '' and meant.of(request_id) == name
end

return meant
