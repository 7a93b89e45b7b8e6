-- mp_put.lua: puts a value into a queue. Never blocks. Refused when Redis is full.
--
-- KEYS, ARGV 1, 2  as in mp_step.lua, which is put before this
--      KEYS 3      hash  unfinished, abandoned: as in mp_take.lua
--                  <queue>:v  list  the values, first in first out: 'v' and the value, or 'k' and the key that holds it
--                  <queue>:w  zset  who waits for a value;  <queue>:p  zset  who waits for room
-- ARGV 3  the value, as it is in the list
--      4  how many values the queue holds at most; 0: any number
--      5  the mode: try, wait, last (as in mp_lock.lua)
-- Returns '+', or '-' if the queue is full

local queue = KEYS[3]
local before = answered()
if before then
  return before
end

local most, large = tonumber(ARGV[4]), string.match(ARGV[3], '^k(.*)$')
if large and redis.call('PEXPIRE', large, 600000) == 0 then
  return redis.error_reply('MPGONE value')
end
if most > 0 and redis.call('LLEN', queue .. ':v') >= most then
  if ARGV[5] == 'wait' then
    await(queue .. ':p')
  else
    leave(queue .. ':p')
  end
  return '-'
end
-- First of all, so that a full Redis refuses it as a script, too.
redis.call('RPUSH', queue .. ':v', ARGV[3])
leave(queue .. ':p')
if large then
  redis.call('PERSIST', large)
end
redis.call('HINCRBY', queue, 'unfinished', 1)
wake(queue .. ':w', 1)
return answer('+')
