-- problem.lua: notes why a run does not go on. The moment it began stays while the reason stays the same.
--
-- KEYS 1  sheaf:problem:<run>  hash  problem, worker, refused, since_ms
-- ARGV 1  the reason, for people
--      2  worker that found it
--      3  ms until the note expires
--      4  '1': the output was refused, so a person has to look; '0': it goes on by itself
-- Returns the moment it began, ms

local time = redis.call('TIME')
local since_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local known = redis.call('HMGET', KEYS[1], 'problem', 'since_ms')
if known[1] == ARGV[1] then
  -- Anybody who may note a problem may note nonsense: a moment that never was is no beginning.
  local began = tonumber(known[2])
  if began and began > 0 and began < since_ms then
    since_ms = began
  end
end
-- DEL is a write that Redis never refuses: when Redis is full, it lets a script go on that has begun to write.
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'problem', ARGV[1], 'worker', ARGV[2], 'refused', ARGV[4], 'since_ms', since_ms)
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return since_ms
