-- mp_signal.lua: a program wants a signal sent to one of its processes. One that still waits for a worker ends at once.
-- mp_entry.lua and shared_request.lua are put before this.
--
-- KEYS 1  as in shared_request.lua
--      2  sheaf:mp:<program>:processes  hash  process id -> JSON
--      and the workers' hashes, sheaf:mp:signals:<worker>
-- ARGV 1  request
--      2  program
--      3  process id
--      4  the signal's number
--      5  channel on which the program listens
--      6  channel on which workers listen
-- Returns '+', or '-' if no such process waits or runs

local before = answered()
if before then
  return before
end

-- A first write that Redis never refuses: when Redis is full, it lets a script go on that has begun to write.
redis.call('HDEL', KEYS[2], '')
local entry = process_entry(KEYS[2], ARGV[3])
if entry and entry.state == 'waiting' then
  entry.state, entry.exitcode = 'ended', -tonumber(ARGV[4])
  keep_entry(KEYS[2], ARGV[3], entry)
  redis.call('PUBLISH', ARGV[5], ARGV[3])
  return answer('+')
end
if not entry or entry.state ~= 'running' or type(entry.worker) ~= 'string' then
  return answer('-')
end
local key, process = 'sheaf:mp:signals:' .. entry.worker, ARGV[2] .. ' ' .. ARGV[3]
local count = tonumber(string.match(redis.call('HGET', key, process) or '', ':(%d+)$') or 0)
redis.call('HSET', key, process, ARGV[4] .. ':' .. count + 1)
redis.call('PUBLISH', ARGV[6], 'signal')
return answer('+')
