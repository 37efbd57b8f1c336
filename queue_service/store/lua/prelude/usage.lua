-- prelude/usage: what each token has used, by the hour.
-- uses: contents, owners, records, rules
--
-- The call that ends a delivery or a job counts it, so nothing is counted twice and nothing is missed.  The
-- hash `usage` has a row for each hour, token and owner: numbers in the order of `column`, separated by
-- spaces.  A newer version adds columns at the end.  `usage_hours` has the rows by their hours.  A row belongs
-- to the hour in which something ended.
--
-- While a worker has an entry, its record has a run (see records.lua): "<since> <GPUs of the worker> <how long it
-- waited before, -1 if this is not its first delivery> <bytes> <token> <owner>".  The token and the owner are
-- "-" for those of the service.  Only deliveries of the workers' group are runs.
local column = {
    succeeded = 1, failed = 2, canceled = 3, expired = 4, -- jobs by their final state
    counted = 5, counted_ms = 6, counted_gpu_ms = 7, -- deliveries whose answer ended their job
    wasted = 8, wasted_ms = 9, wasted_gpu_ms = 10, -- all others that have ended
    started = 11, wait_ms = 12, -- jobs that were delivered for the first time, and how long they had waited
    bytes_in = 13, bytes_out = 14, tokens_in = 15, tokens_out = 16,
}
local COLUMNS, HOUR_MS = 16, 3600 * 1000
local MOST_ROWS = 100000 -- of one service; beyond that, the oldest go
local GONE_AT_ONCE = 20 -- rows that a new row may replace

local gpus = '0' -- of the worker that gets entries
local rows = {} -- by token and owner, what this call adds to each column
local run_of_job = {} -- by index, the last run that ended in this call
local states, entries_read = {}, {} -- by index, how the job ends, and the fields of its entry

local function add(who, name, by)
    local row = rows[who]
    if not row then
        row = {}
        rows[who] = row
    end
    row[column[name]] = (row[column[name]] or 0) + by
end

-- The token that has put an entry, "-" for the service's own.  It has a field for it where it is not
-- the account.
local function token_of(fields)
    if fields[OWNER - 1] ~= 'o' then
        return '-'
    elseif fields[OWNER + 1] == 'k' then
        return fields[OWNER + 2]
    end
    local account = string.match(fields[OWNER], '^~?([^:]*)')
    return account ~= '' and account or '-'
end

local function who_of(fields)
    local owner = Owners.owner_of(fields[REQUEST_ID])
    return token_of(fields) .. ' ' .. (owner ~= '' and owner or '-')
end

local function size_of(data, tags)
    return #data + Contents.size_of_files(tags)
end

local function is_run(gid)
    return role == 'input' and gid == Rules.workers_gid
end

-- The next deliveries go to this worker.  about: what attributes show of it (JSON).
local function note_worker(about)
    -- Quotes inside texts are escaped there, so this matches no text.
    gpus = string.match(about or '', '"gpus": (%d+)') or '0'
end

-- A worker gets an entry.  record: before the delivery.
local function begin_run(gid, index, record, fields)
    if is_run(gid) then
        local now = now_ms()
        local is_first = record.attempt == 0 and record.uid == ''
        local wait_ms = is_first and math.max(0, now - tonumber(fields[STORED_AT])) or -1
        Records.note_run(own, gid, index, string.format('%.0f %s %.0f %.0f ', now, gpus, wait_ms,
            size_of(fields[DATA], fields[TAGS])) .. who_of(fields))
    end
end

-- A delivery has ended.  how: "counted" if its answer ended the job, else "wasted".
local function end_run(gid, index, how)
    local text = gid == Rules.workers_gid and Records.take_run(input, gid, index)
    if not text then
        return
    end
    local since, gpus, wait_ms, bytes, who = string.match(text, '^(%d+) (%d+) (%S+) (%d+) (.*)$')
    local ran_ms = math.max(0, now_ms() - tonumber(since))
    add(who, how, 1)
    add(who, how .. '_ms', ran_ms)
    if gpus ~= '0' then
        add(who, how .. '_gpu_ms', ran_ms * tonumber(gpus))
    end
    if wait_ms ~= '-1' then
        add(who, 'started', 1)
        add(who, 'wait_ms', tonumber(wait_ms))
    end
    run_of_job[index] = { who = who, bytes = tonumber(bytes) }
end

-- Note what is known of an entry that is about to be removed; nil for unknown.  state: false if its job
-- does not end with it.
local function note_end(index, state, fields)
    if states[index] == nil then
        states[index] = state
    end
    entries_read[index] = entries_read[index] or fields
end

local function end_job_of(who, state, bytes)
    add(who, state, 1)
    if bytes > 0 then
        add(who, 'bytes_in', bytes)
    end
end

-- A job that has never entered the queue ends.
local function end_delayed(fields, state)
    if fields then
        end_job_of(who_of(fields), state, size_of(fields[DATA], fields[TAGS]))
    end
end

-- The job of an input entry ends, in the way that was noted or else in this one.  fields: of its entry, if
-- they were read.  Open runs end here, because the entry is about to leave the stream.
local function end_job(index, lane, state, fields)
    local noted = states[index]
    if noted ~= nil then
        state = noted
    end
    end_run(Rules.workers_gid, index, 'wasted')
    local run = run_of_job[index]
    fields = fields or entries_read[index]
    states[index], entries_read[index], run_of_job[index] = nil, nil, nil
    if not state then
        return
    end
    if not run then
        fields = fields or read(input, index, lane)
        run = fields and { who = who_of(fields), bytes = size_of(fields[DATA], fields[TAGS]) }
    end
    if run then
        end_job_of(run.who, state, run.bytes)
    end
    return run
end

-- The answer of a worker ends a job.  tokens: "<of the prompt> <of the output>" or "".
local function end_answered(gid, index, state, data, tags, tokens)
    end_run(gid, index, 'counted')
    local run = run_of_job[index]
    note_end(index, state)
    if not run then
        return
    end
    local bytes_out = size_of(data, tags)
    if bytes_out > 0 then
        add(run.who, 'bytes_out', bytes_out)
    end
    local prompt, output = string.match(tokens, '^(%d+) (%d+)$')
    if prompt then
        add(run.who, 'tokens_in', tonumber(prompt))
        add(run.who, 'tokens_out', tonumber(output))
    end
end

-- Remove rows that are too old or too many; called once for each new row.
local function forget_old(hour)
    local least = hour - math.ceil(Rules.usage_ms / HOUR_MS)
    local old = redis.call('ZRANGEBYSCORE', usage_hours, '-inf', '(' .. least, 'LIMIT', 0, GONE_AT_ONCE)
    if #old == 0 and redis.call('ZCARD', usage_hours) > MOST_ROWS then
        old = redis.call('ZRANGE', usage_hours, 0, GONE_AT_ONCE - 1)
    end
    if #old > 0 then
        redis.call('HDEL', usage, unpack(old))
        redis.call('ZREM', usage_hours, unpack(old))
    end
end

local function write_row(hour, who, added)
    local field = string.format('%.0f ', hour) .. who
    local known = redis.call('HGET', usage, field)
    local numbers, count = {}, 0
    for number in string.gmatch(known or '', '%S+') do
        count = count + 1
        numbers[count] = number
    end
    for place = count + 1, COLUMNS do
        numbers[place] = '0'
    end
    for place, by in pairs(added) do
        numbers[place] = string.format('%.0f', tonumber(numbers[place]) + by)
    end
    redis.call('HSET', usage, field, table.concat(numbers, ' '))
    if not known then
        redis.call('ZADD', usage_hours, hour, field)
        forget_old(hour)
    end
end

local function flush()
    if next(rows) then
        local hour = math.floor(now_ms() / HOUR_MS)
        for who, added in pairs(rows) do
            write_row(hour, who, added)
        end
        rows = {}
    end
end

return {
    note_worker = note_worker, begin_run = begin_run, end_run = end_run, note_end = note_end,
    end_delayed = end_delayed, end_job = end_job, end_answered = end_answered, flush = flush,
}
