-- mp_send.lua: sends a message into a pipe. Never blocks. Refused when Redis is full.
--
-- KEYS, ARGV 1, 2  as in mp_step.lua, which is put before this
-- ARGV 3  the end that sends, as in mp_pipe.lua
--      4  the message, as it is in the list
-- Returns '+', or '!' if no process has the other end open

local before = answered()
if before then
  return before
end
local to = other(ARGV[3])
if not end_is_open(to) then
  return answer('!')
end
-- First of all, so that a full Redis refuses it as a script, too.
redis.call('RPUSH', to .. ':v', ARGV[4])
if string.sub(ARGV[4], 1, 1) == 'k' then
  redis.call('PERSIST', string.sub(ARGV[4], 2))
end
wake(to .. ':w', 0)
return answer('+')
