-- free_files: drop results that were read and have files, the oldest first: the disk of the files is full.
-- uses: reads
-- writes
--
-- argv     4  bytes that are needed
--          5  the member of `read_results` after which to look, "" at first
-- returns  {bytes of the files that are not needed any more, after which member to go on or ""}
write_although_full()
local freed, after = Reads.free_files(tonumber(ARGV[4]), ARGV[5])
return { string.format('%.0f', freed), after }
