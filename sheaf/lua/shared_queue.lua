-- shared_queue.lua: puts something into a queue, or takes something out of it. Never blocks.
--
-- KEYS 1  as in shared_request.lua, which is put before this
--      2  sheaf:queue:<name>        list  the values, as JSON, first in first out
--      3  sheaf:queue:<name>:wake   list  a call for each value that was put; those who wait to get one sleep on it
--      4  sheaf:queue:<name>:room   list  the same for those who wait to put one into a full queue
-- ARGV 1  request
--      2  put or get
--      3  put: the value    4  put: how many values the queue holds at most; 0: any number
-- Returns '+' (get: and the value), or '-' if the queue was full, or empty

local before = answered()
if before then
  return before
end

-- A call that nobody hears costs a waiter one look; without a call it looks after a second.
local function wake(key)
  if redis.call('LLEN', key) < 100 then
    redis.call('RPUSH', key, '1')
  end
  redis.call('PEXPIRE', key, 5000)
end

if ARGV[2] == 'put' then
  local most = tonumber(ARGV[4])
  if most > 0 and redis.call('LLEN', KEYS[2]) >= most then
    return '-'
  end
  redis.call('RPUSH', KEYS[2], ARGV[3])
  wake(KEYS[3])
  return answer('+')
end

-- LPOP is a write that Redis never refuses: when Redis is full, it lets a script go on that has begun to write.
local value = redis.call('LPOP', KEYS[2])
if not value then
  return '-'
end
wake(KEYS[4])
return answer('+' .. value)
