-- mp_host.lua: what a worker has to know and do as the host of programs' processes: it takes starts, in one step with
-- renewing its lease and with asking for signals. mp_entry.lua is put before this.
--
-- What Redis counts as this worker's and the worker does not name was claimed in a step whose answer was lost: it is
-- named again. So a replay changes nothing.
--
-- KEYS 1  sheaf:mp:programs          zset  program -> ms at which its lease runs out
--      2  sheaf:mp:starts            list  `program process ms`
--      3  sheaf:mp:hosts             hash  worker -> `ms at which its lease runs out, processes, places that are free`
--      4  sheaf:mp:hosted:<worker>   set   `program process`
--      5  sheaf:mp:signals:<worker>  hash  `program process` -> `signal:count`
--      and the programs' hashes, sheaf:mp:<program>:processes
-- ARGV 1  worker
--      2  length of its lease, ms
--      3  how many processes it has room for
--      4  ms for which a start waits for a worker that hosts fewer processes
--      5  channel on which workers listen
--      6… the processes that it hosts, as `program process`
-- Returns JSON: {"claims": [[program, process], …], "lost": [those that it names and that are no longer its own],
--   "signals": {process: "signal:count"}, "over": [programs whose lease is over], "gone": [those that have none],
--   "again_ms": when the first of the waiting ones is for any worker, or -1}

local worker, room = ARGV[1], tonumber(ARGV[3])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local claims, lost, over, gone, again_ms = {}, {}, {}, {}, -1
local count = 0

-- A first write that Redis never refuses: when Redis is full, it lets a script go on that has begun to write.
redis.call('HDEL', KEYS[3], '')

local function look_after_own()
  local named, programs = {}, {}
  for position = 6, #ARGV do
    local own = ARGV[position]
    named[own] = true
    programs[string.match(own, '^%S*')] = true
    if redis.call('SISMEMBER', KEYS[4], own) == 0 then
      lost[#lost + 1] = own
    end
  end
  for _, own in ipairs(redis.call('SMEMBERS', KEYS[4])) do
    count = count + 1
    if not named[own] then
      local program, process = string.match(own, '^(%x+) (%x+)$')
      if program then
        claims[#claims + 1] = {program, process}
      else
        redis.call('SREM', KEYS[4], own)
      end
    end
  end
  for program in pairs(programs) do
    local until_ms = tonumber(redis.call('ZSCORE', KEYS[1], program) or -1)
    if until_ms < 0 then
      gone[#gone + 1] = program
    elseif until_ms <= now then
      over[#over + 1] = program
    end
  end
end

-- The smallest number of processes on another live worker that has room for one more.
local function fewest_elsewhere()
  local fewest = math.huge
  local hosts = redis.call('HGETALL', KEYS[3])
  for position = 1, #hosts, 2 do
    local until_ms, hosted, free = string.match(hosts[position + 1], '^(%d+) (%d+) (%d+)$')
    if hosts[position] ~= worker and until_ms and tonumber(until_ms) > now and tonumber(free) > 0 then
      fewest = math.min(fewest, tonumber(hosted))
    end
  end
  return fewest
end

local function claim(program, process)
  local key = 'sheaf:mp:' .. program .. ':processes'
  local entry = process_entry(key, process)
  if not entry or entry.state ~= 'waiting' then
    return
  end
  entry.state, entry.worker = 'running', worker
  keep_entry(key, process, entry)
  redis.call('SADD', KEYS[4], program .. ' ' .. process)
  claims[#claims + 1] = {program, process}
  count, room = count + 1, room - 1
end

-- Take what waits from the list; what belongs to no program any more leaves it.
local function take()
  local fewest = fewest_elsewhere()
  local taken = #claims
  for _ = 1, math.min(redis.call('LLEN', KEYS[2]), 1000) do
    local start = redis.call('LINDEX', KEYS[2], 0)
    local program, process, since = string.match(start, '^(%x+) (%x+) (%d+)$')
    if not program then
      redis.call('LPOP', KEYS[2])
    else
      local until_ms = tonumber(redis.call('ZSCORE', KEYS[1], program) or -1)
      local waited = now - tonumber(since)
      if until_ms >= 0 and until_ms <= now then
        -- Perhaps Redis was away for longer than the lease: the program may be back in a moment.
        redis.call('RPUSH', KEYS[2], redis.call('LPOP', KEYS[2]))
      elseif until_ms < 0 then
        redis.call('LPOP', KEYS[2])
      elseif room <= 0 then
        break
      elseif count > fewest and waited >= 0 and waited < tonumber(ARGV[4]) then
        again_ms = tonumber(ARGV[4]) - waited
        break
      else
        redis.call('LPOP', KEYS[2])
        claim(program, process)
      end
    end
  end
  if #claims > taken and redis.call('LLEN', KEYS[2]) > 0 then
    -- Another may host fewer than this one now.
    redis.call('PUBLISH', ARGV[5], 'start')
  end
end

look_after_own()
take()
redis.call('HSET', KEYS[3], worker, string.format('%.0f %d %d', now + tonumber(ARGV[2]), count, math.max(0, room)))

local signals = {}
local asked = redis.call('HGETALL', KEYS[5])
for position = 1, #asked, 2 do
  signals[asked[position]] = asked[position + 1]
end
return cjson.encode({claims = claims, lost = lost, signals = signals, over = over, gone = gone, again_ms = again_ms})
