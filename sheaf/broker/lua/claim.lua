-- claim.lua: takes batches from the queue and leases them to a worker, in one step; parties take turns. lines.lua is put before it.
--
-- KEYS 1  rq:queue:sheaf           list    ids of queued jobs
--      2  sheaf:leases             zset    batch id -> ms at which its lease runs out
--      3  sheaf:owners             hash    batch id -> worker
--      4  sheaf:claims             hash    batch id -> how often it was claimed
--      5  rq:wip:sheaf             zset    RQ's registry of started jobs
--      6  rq:failed:sheaf          zset    RQ's registry of failed jobs
--      7  sheaf:claimed:<worker>   string  the last request and its answer, for a replay
--      8  sheaf:turns              zset    party -> its turn
--      9  sheaf:lined              string  how many ids are in lines
--      and the jobs' hashes, rq:job:<id>, and the lines
-- ARGV 1  worker
--      2  how many batches at most
--      3  length of the lease, ms
--      4  request: a replay carries the same one
--      5  the moment, as RQ writes it (shown to people only)
--      6  why a job that is not ours is refused, for people
--      7  of how many parties that are not named below
--      8  how many batches of each of those
--      9… party, how many batches of it, party, …
-- Returns {answer, jobs left on the queue, parties that have some, those left of each party that was claimed from}; the
-- answer is JSON: {"batches": [[id, claims], ...], "foreign": [id, ...]}, the last is {party, count, party, …}

local worker, most, lease_ms = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

-- Another program's job: nothing here can run it, so it is failed in the open, where `rq` shows it.
local function refuse(id)
  local job = 'rq:job:' .. id
  -- It may be no hash at all; its id may be no text.
  if redis.pcall('HEXISTS', job, 'data') == 1 then
    redis.call('HSET', job, 'status', 'failed', 'ended_at', ARGV[5], 'exc_info', ARGV[6])
    redis.call('ZADD', KEYS[6], time[1] + 31536000, id)
  end
end

local function lease(id)
  redis.call('ZADD', KEYS[2], now + lease_ms, id)
  redis.call('HSET', KEYS[3], id, worker)
  redis.call('ZADD', KEYS[5], '+inf', id .. ':lease')
  local job = 'rq:job:' .. id
  if redis.pcall('HLEN', job) ~= 0 then
    redis.pcall('HSET', job, 'status', 'started', 'worker_name', worker, 'started_at', ARGV[5])
  end
end

-- A count that is not a number starts over.
local function count(id)
  local claims = redis.pcall('HINCRBY', KEYS[4], id, 1)
  if type(claims) == 'number' then
    return claims
  end
  redis.call('HSET', KEYS[4], id, 1)
  return 1
end

local function count_of_parties()
  return redis.call('ZCARD', KEYS[8])
end

local last = redis.call('GET', KEYS[7])
if last and string.sub(last, 1, #ARGV[4]) == ARGV[4] then
  return {string.sub(last, #ARGV[4] + 1), redis.call('LLEN', KEYS[1]), count_of_parties(), {}}
end

-- What is not of its type makes this fail now, before anything is taken.
for _, key in ipairs({KEYS[2], KEYS[5], KEYS[6]}) do
  redis.call('ZCARD', key)
end
redis.call('LLEN', KEYS[1])
redis.call('HLEN', KEYS[3])
redis.call('HLEN', KEYS[4])

-- A first write that Redis never refuses: when Redis is full, it lets a script go on that has begun to write.
redis.call('HDEL', KEYS[3], '')

local batches, foreign = {}, {}

-- Lines follow from the list: if they were changed from outside, they are rebuilt.
local function number_at(key)
  local value = redis.pcall('GET', key)
  local number = type(value) == 'string' and tonumber(value) or 0
  return number >= 0 and number < 9007199254740992 and math.floor(number) or 0
end

if type(redis.pcall('ZCARD', KEYS[8])) ~= 'number' then
  redis.call('DEL', KEYS[8], KEYS[9])
end
local lined = number_at(KEYS[9])

-- Put ids at the end of their parties' lines; at most 100 jobs of others are dealt with at once.
local function sort_in(ids)
  local ends = {}
  for _, id in ipairs(ids) do
    if is_batch(id) then
      local _, party = line_of(id)
      ends[party] = ends[party] or {}
      table.insert(ends[party], id)
      lined = lined + 1
    elseif #foreign < 100 then
      redis.call('LREM', KEYS[1], 1, id)
      refuse(id)
      foreign[#foreign + 1] = string.sub(id, 1, 200)
    end
  end
  for party, own in pairs(ends) do
    if type(redis.pcall('LLEN', 'sheaf:line:' .. party)) ~= 'number' then
      redis.call('DEL', 'sheaf:line:' .. party)
    end
    for first = 1, #own, 1000 do
      redis.call('RPUSH', 'sheaf:line:' .. party, unpack(own, first, math.min(first + 999, #own)))
    end
    redis.call('ZADD', KEYS[8], 'NX', 0, party)
  end
end

local function make_lines_anew()
  local parties = redis.call('ZRANGE', KEYS[8], 0, -1)
  for _, party in ipairs(parties) do
    redis.call('DEL', 'sheaf:line:' .. party)
  end
  lined = 0
  sort_in(redis.call('LRANGE', KEYS[1], 0, -1))
  for _, party in ipairs(parties) do
    if redis.call('EXISTS', 'sheaf:line:' .. party) == 0 then
      redis.call('ZREM', KEYS[8], party)
    end
  end
end

local function update_lines()
  local new = redis.call('LLEN', KEYS[1]) - lined
  if new > 0 then
    sort_in(redis.call('LRANGE', KEYS[1], -new, -1))
  elseif new < 0 then
    make_lines_anew()
  end
end

-- The next id of a party's line, which is no longer queued then; nil when there is none.
local popped = {}
local function next_of(party)
  while true do
    local id = redis.pcall('LPOP', 'sheaf:line:' .. party)
    if type(id) == 'string' then
      lined, popped[party] = lined - 1, true
      if redis.call('LREM', KEYS[1], 1, id) == 1 and is_batch(id) then
        return id
      end
    elseif popped[party] then
      return nil
    end
    -- It was taken off the list, or its line was removed, from outside. After this the lines are right again.
    popped[party] = true
    make_lines_anew()
  end
end

-- Lease the party's next batch; false when it has none.
local function take(party)
  while true do
    local id = next_of(party)
    if not id then
      return false
    end
    local owner = redis.call('HGET', KEYS[3], id)
    local live = owner and tonumber(redis.call('ZSCORE', KEYS[2], id) or 0) > now
    if not is_batch(id) then
      -- Put back from a lease that was none of ours.
      refuse(id)
      foreign[#foreign + 1] = string.sub(id, 1, 200)
    elseif not live then
      lease(id)
      batches[#batches + 1] = {id, count(id)}
      return true
    elseif owner == worker then
      -- Queued twice, and the first is already ours.
      lease(id)
      batches[#batches + 1] = {id, tonumber(redis.call('HGET', KEYS[4], id) or 1)}
      return true
    end
    -- Queued twice, and under another worker's live lease: one of them is enough.
  end
end

-- How many batches of each party are to be had, in the order of their turns.
local function wishes()
  local named, order, new = {}, {}, tonumber(ARGV[7])
  for position = 9, #ARGV, 2 do
    named[ARGV[position]] = tonumber(ARGV[position + 1])
  end
  for _, party in ipairs(redis.call('ZRANGE', KEYS[8], 0, -1)) do
    local wanted = named[party]
    if not wanted and new > 0 then
      wanted, new = tonumber(ARGV[8]), new - 1
    end
    if wanted and wanted > 0 then
      order[#order + 1] = {party, wanted}
    end
  end
  return order
end

update_lines()
local order = wishes()
local turn = tonumber(redis.call('ZRANGE', KEYS[8], -1, -1, 'WITHSCORES')[2] or 0)
local taken, went_on = {}, true
while went_on and #batches < most do
  went_on = false
  for _, wanted in ipairs(order) do
    local party = wanted[1]
    if wanted[2] > 0 and #batches < most then
      if take(party) then
        wanted[2] = wanted[2] - 1
        turn = turn + 1
        taken[party], went_on = turn, true
      else
        wanted[2] = 0
      end
    end
  end
end

local left = {}
for party, its_turn in pairs(taken) do
  local count = redis.call('LLEN', 'sheaf:line:' .. party)
  left[#left + 1], left[#left + 2] = party, count
  if count > 0 then
    redis.call('ZADD', KEYS[8], its_turn, party)
  else
    redis.call('ZREM', KEYS[8], party)
  end
end
note_lined(KEYS[9], lined)

local answer = cjson.encode({batches = batches, foreign = foreign})
if #batches + #foreign > 0 then
  -- Half a lease: a worker that gets it as a replay still has time to renew what it names.
  redis.call('SET', KEYS[7], ARGV[4] .. answer, 'PX', math.ceil(lease_ms / 2))
end
return {answer, redis.call('LLEN', KEYS[1]), count_of_parties(), left}
