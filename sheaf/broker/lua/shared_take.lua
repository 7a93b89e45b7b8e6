-- shared_take.lua: takes a value out of a queue. Never blocks.
--
-- KEYS 1  as in shared_request.lua, which is put before this
--      2  sheaf:queue:<name>        list  the values, as JSON, first in first out
--      3  sheaf:queue:<name>:room   list  a call for each value that was taken; those who wait to put one sleep on it
-- ARGV 1  request
-- Returns '+' and the value, or '-' if the queue was empty

local before = answered()
if before then
  return before
end

-- LPOP is a write that Redis never refuses: when Redis is full, it lets a script go on that has begun to write.
local value = redis.call('LPOP', KEYS[2])
if not value then
  return '-'
end
wake(KEYS[3])
return answer('+' .. value)
