-- owners: who has something under a request id, beside the service's own token.
--
-- argv     4  request id
-- returns  the owners, two at most: more than one does not say whose is meant
return meanings().owners(ARGV[4], 2)
