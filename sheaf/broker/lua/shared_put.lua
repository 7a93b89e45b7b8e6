-- shared_put.lua: puts a value into a queue. Never blocks. Refused when Redis is full.
--
-- KEYS 1  as in shared_request.lua, which is put before this
--      2  sheaf:queue:<name>        list  the values, as JSON, first in first out
--      3  sheaf:queue:<name>:wake   list  a call for each value that was put; those who wait to get one sleep on it
-- ARGV 1  request
--      2  the value
--      3  how many values the queue holds at most; 0: any number
-- Returns '+', or '-' if the queue was full

local before = answered()
if before then
  return before
end

local most = tonumber(ARGV[3])
if most > 0 and redis.call('LLEN', KEYS[2]) >= most then
  return '-'
end
redis.call('RPUSH', KEYS[2], ARGV[2])
wake(KEYS[3])
return answer('+')
