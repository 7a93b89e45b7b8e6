-- claim.lua: takes batches from the front of the queue and leases them to a worker, in one step.
--
-- KEYS 1  rq:queue:sheaf           list    ids of queued jobs
--      2  sheaf:leases             zset    batch id -> ms at which its lease runs out
--      3  sheaf:owners             hash    batch id -> worker
--      4  sheaf:claims             hash    batch id -> how often it was claimed
--      5  rq:wip:sheaf             zset    RQ's registry of started jobs
--      6  rq:failed:sheaf          zset    RQ's registry of failed jobs
--      7  sheaf:claimed:<worker>   string  the last request and its answer, for a replay
--      and the jobs' hashes, rq:job:<id>
-- ARGV 1  worker
--      2  how many batches at most
--      3  length of the lease, ms
--      4  request: a replay carries the same one
--      5  the moment, as RQ writes it (shown to people only)
--      6  why a job that is not ours is refused, for people
-- Returns {answer, jobs left on the queue}; the answer is JSON: {"batches": [[id, claims], ...], "foreign": [id, ...]}

local worker, lease_ms = ARGV[1], tonumber(ARGV[3])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function is_batch(id)
  local run, number = string.match(id, '^([%w%-]+)_(%d+)$')
  return run and #id <= 200 and #number <= 15 and (number == '0' or string.sub(number, 1, 1) ~= '0')
    and not string.find('-' .. run .. '-', '--', 1, true)
end

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

-- A count that somebody has spoilt begins anew.
local function count(id)
  local claims = redis.pcall('HINCRBY', KEYS[4], id, 1)
  if type(claims) == 'number' then
    return claims
  end
  redis.call('HSET', KEYS[4], id, 1)
  return 1
end

local last = redis.call('GET', KEYS[7])
if last and string.sub(last, 1, #ARGV[4]) == ARGV[4] then
  return {string.sub(last, #ARGV[4] + 1), redis.call('LLEN', KEYS[1])}
end

-- What is not of its type makes this fail now, before anything is taken.
for _, key in ipairs({KEYS[2], KEYS[5], KEYS[6]}) do
  redis.call('ZCARD', key)
end
redis.call('HLEN', KEYS[3])
redis.call('HLEN', KEYS[4])

local batches, foreign = {}, {}
-- LPOP is the first write, and one that Redis never refuses: when Redis is full, it lets a script go on that has begun to write.
while #batches < tonumber(ARGV[2]) and #foreign < 100 do
  local id = redis.call('LPOP', KEYS[1])
  if not id then
    break
  end
  local owner = redis.call('HGET', KEYS[3], id)
  local live = owner and tonumber(redis.call('ZSCORE', KEYS[2], id) or 0) > now
  if not is_batch(id) then
    refuse(id)
    foreign[#foreign + 1] = string.sub(id, 1, 200)
  elseif not live then
    lease(id)
    batches[#batches + 1] = {id, count(id)}
  elseif owner == worker then
    -- Queued twice, and the first is already ours.
    lease(id)
    batches[#batches + 1] = {id, tonumber(redis.call('HGET', KEYS[4], id) or 1)}
  end
  -- Queued twice, and under somebody else's live lease: one of them is enough.
end

local answer = cjson.encode({batches = batches, foreign = foreign})
if #batches + #foreign > 0 then
  -- Half a lease: whoever gets it as a replay still has time to renew what it names.
  redis.call('SET', KEYS[7], ARGV[4] .. answer, 'PX', math.ceil(lease_ms / 2))
end
return {answer, redis.call('LLEN', KEYS[1])}
