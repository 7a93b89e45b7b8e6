-- put_back.lua: puts batches back to the front of the queue: those a worker hands back, or whose lease expired.
--
-- KEYS 1  rq:queue:sheaf  list  ids of queued jobs
--      2  sheaf:leases    zset  batch id -> ms at which its lease runs out
--      3  sheaf:owners    hash  batch id -> worker
--      4  rq:wip:sheaf    zset  RQ's registry of started jobs
--      5  sheaf:turns     zset  party -> its turn; lines.lua is put before this
--      6  sheaf:lined     string  how many ids are in lines
--      and the jobs' hashes, rq:job:<id>, and the lines
-- ARGV 1  worker whose batches these are; '' for every batch whose lease ran out
--      2  the longest lease in ms; 0: not known
--      3  the moment, as RQ writes it (shown to people only)
--      4  channel of the wakeups
--      5… batch ids; none when ARGV 1 is ''
-- Returns the ids that were put back. A replay finds them put back already and returns none.

local worker, longest_ms = ARGV[1], tonumber(ARGV[2])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function expired()
  if longest_ms > 0 then
    -- The clock was set back: no lease has more left than its whole length.
    for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. now + longest_ms, '+inf')) do
      redis.call('ZADD', KEYS[2], 'XX', now + longest_ms, id)
    end
  end
  return redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, 1000)
end

-- RQ's job, so that `rq` can show it; made anew when Redis has lost it. Its payload is never needed: the id says it all.
local function show_as_queued(id)
  local job = 'rq:job:' .. id
  local known = redis.pcall('HEXISTS', job, 'data')
  if known ~= 1 then
    if known ~= 0 then
      -- No hash: nothing of ours.
      redis.call('DEL', job)
    end
    local run = string.match(id, '^(.*)_')
    redis.call('HSET', job, 'data', cjson.encode({'sheaf.broker.queue.run_batch', cjson.null, {run}, {}}),
      'created_at', ARGV[3], 'enqueued_at', ARGV[3], 'origin', 'sheaf', 'timeout', -1, 'result_ttl', 0,
      'description', 'batch ' .. id)
  end
  redis.call('HSET', job, 'status', 'queued', 'worker_name', '', 'started_at', '')
end

-- To the front of its party's line, too: claim.lua finds by itself only what is at the end of the list.
local function put_in_front(id)
  local line, party = line_of(id)
  redis.call('LPUSH', KEYS[1], id)
  redis.pcall('LPUSH', line, id)
  redis.pcall('ZADD', KEYS[5], 'NX', 0, party)
  redis.pcall('INCRBY', KEYS[6], 1)
end

-- What is not of its type makes this fail now, before anything is taken.
redis.call('LLEN', KEYS[1])
redis.call('ZCARD', KEYS[2])
redis.call('ZCARD', KEYS[4])

-- A first write that Redis never refuses: when Redis is full, it lets a script go on that has begun to write.
redis.call('HDEL', KEYS[3], '')

local ids = {}
if worker == '' then
  ids = expired()
else
  for position = 5, #ARGV do
    if redis.call('HGET', KEYS[3], ARGV[position]) == worker then
      ids[#ids + 1] = ARGV[position]
    end
  end
end

local put_back = {}
-- From last to first, so that they are in order at the front.
for position = #ids, 1, -1 do
  local id = ids[position]
  redis.call('ZREM', KEYS[2], id)
  redis.call('HDEL', KEYS[3], id)
  redis.call('ZREM', KEYS[4], id .. ':lease')
  -- An entry among the leases that is not a batch's id is foreign: it is removed, no more.
  if is_batch(id) then
    if not redis.call('LPOS', KEYS[1], id) then
      put_in_front(id)
    end
    show_as_queued(id)
    table.insert(put_back, 1, id)
  end
end
if #put_back > 0 then
  redis.call('PUBLISH', ARGV[4], #put_back)
end
return put_back
