-- finish.lua: lets go of batches for good: lease, count of claims, RQ's job, all gone.
--
-- KEYS 1  sheaf:leases     zset  batch id -> ms at which its lease runs out
--      2  sheaf:owners     hash  batch id -> worker
--      3  sheaf:claims     hash  batch id -> how often it was claimed
--      4  rq:queue:sheaf   list  ids of queued jobs
--      5  rq:wip:sheaf     zset  RQ's registry of started jobs
--      6  rq:failed:sheaf  zset  RQ's registry of failed jobs
--      7  sheaf:lined      string  how many ids are in lines; lines.lua is put before this
--      and the jobs' hashes, rq:job:<id>, and the lines
-- ARGV 1  worker
--      2… batch ids
-- Returns how many were released; one under another worker's live lease is left to its owner

local worker = ARGV[1]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local finished = 0

for position = 2, #ARGV do
  local id = ARGV[position]
  local owner = redis.call('HGET', KEYS[2], id)
  if not owner or owner == worker or tonumber(redis.call('ZSCORE', KEYS[1], id) or 0) <= now then
    if owner ~= worker then
      -- Our lease had run out: it may be queued again, for nothing.
      take_off(KEYS[4], KEYS[7], id)
    end
    redis.call('ZREM', KEYS[1], id)
    redis.call('HDEL', KEYS[2], id)
    redis.call('HDEL', KEYS[3], id)
    redis.call('ZREM', KEYS[5], id .. ':lease')
    redis.call('ZREM', KEYS[6], id)
    redis.call('DEL', 'rq:job:' .. id)
    finished = finished + 1
  end
end
return finished
