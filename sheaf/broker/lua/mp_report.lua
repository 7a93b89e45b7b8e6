-- mp_report.lua: a worker, or who speaks for one that died, says how a program's process is. mp_entry.lua is put before
-- this. Run twice, it says the same.
--
-- KEYS 1  sheaf:mp:<program>:processes  hash  process id -> JSON
--      2  sheaf:mp:hosted:<worker>      set   `program process`
--      3  sheaf:mp:signals:<worker>     hash  `program process` -> `signal:count`
-- ARGV 1  worker
--      2  program
--      3  process id
--      4  `pid` or `exitcode`
--      5  a number
--      6  channel on which the program listens
-- Returns 1, or 0 if the process is not (or no longer) one that runs on this worker

local own = ARGV[2] .. ' ' .. ARGV[3]
local ended = ARGV[4] == 'exitcode'
-- Writes that Redis never refuses: when Redis is full, it lets a script go on that has begun to write.
redis.call('HDEL', KEYS[3], '')
local entry = process_entry(KEYS[1], ARGV[3])
local running = entry and entry.state == 'running' and entry.worker == ARGV[1]
if running then
  entry[ARGV[4]] = tonumber(ARGV[5])
  if ended then
    entry.state = 'ended'
  end
  keep_entry(KEYS[1], ARGV[3], entry)
  redis.call('PUBLISH', ARGV[6], ARGV[3])
end
if ended then
  redis.call('SREM', KEYS[2], own)
  redis.call('HDEL', KEYS[3], own)
end
return running and 1 or 0
