-- mp_start.lua: a program has a process waiting for a worker. Refused when Redis is full.
--
-- KEYS 1  as in shared_request.lua, which is put before this
--      2  sheaf:mp:programs             zset  program -> ms at which its lease runs out
--      3  sheaf:mp:<program>:processes  hash  process id -> JSON
--      4  sheaf:mp:<program>:keys       set   the program's keys
--      5  sheaf:mp:starts               list  `program process ms`
-- ARGV 1  request
--      2  program
--      3  process id
--      4  the process's entry, as JSON
--      5  channel on which workers listen
-- Returns '+'; '-gone' if the program has no lease, '-known' if there is a process of that id

local before = answered()
if before then
  return before
end

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if tonumber(redis.call('ZSCORE', KEYS[2], ARGV[2]) or 0) <= now then
  return '-gone'
end
if redis.call('HSETNX', KEYS[3], ARGV[3], ARGV[4]) == 0 then
  return answer('-known')
end
redis.call('SADD', KEYS[4], KEYS[3], KEYS[4])
redis.call('RPUSH', KEYS[5], ARGV[2] .. ' ' .. ARGV[3] .. ' ' .. now)
redis.call('PUBLISH', ARGV[5], 'start')
return answer('+')
