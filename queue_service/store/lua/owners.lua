-- owners: the owners that have an entry or a ticket under a request id, besides the service itself.
-- uses: meanings
--
-- argv     4  request id
-- returns  the owners, two at most, because the id is ambiguous then
return Meanings.owners(ARGV[4], 2)
