-- renew.lua: gives a worker's leases their full length again, and makes anew those that Redis has forgotten.
--
-- KEYS 1  sheaf:leases    zset  batch id -> ms at which its lease runs out
--      2  sheaf:owners    hash  batch id -> worker
--      3  rq:queue:sheaf  list  ids of queued jobs
--      4  rq:wip:sheaf    zset  RQ's registry of started jobs
--      5  sheaf:lined     string  how many ids are in lines; lines.lua is put before this
--      and the lines
-- ARGV 1  worker
--      2  length of the lease, ms
--      3… batch ids
-- Returns the ids that are now under another worker's live lease

local worker, lease_ms = ARGV[1], tonumber(ARGV[2])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local lost = {}

-- A first write that Redis never refuses: when Redis is full, it lets a script go on that has begun to write.
redis.call('HDEL', KEYS[2], '')

for position = 3, #ARGV do
  local id = ARGV[position]
  local owner = redis.call('HGET', KEYS[2], id)
  if owner and owner ~= worker and tonumber(redis.call('ZSCORE', KEYS[1], id) or 0) > now then
    lost[#lost + 1] = id
  else
    if owner ~= worker then
      -- It may have been queued again in the meantime; we still have it.
      take_off(KEYS[3], KEYS[5], id)
      redis.call('HSET', KEYS[2], id, worker)
    end
    redis.call('ZADD', KEYS[1], now + lease_ms, id)
    redis.call('ZADD', KEYS[4], '+inf', id .. ':lease')
  end
end
return lost
