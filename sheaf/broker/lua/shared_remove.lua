-- shared_remove.lua: takes something out of a dict, or all that a counter or a dict holds.
--
-- KEYS 1  as in shared_request.lua, which is put before this
--      2  as in shared_value.lua
-- ARGV 1  request
--      2  the key to take out of a dict; none: everything
-- Returns '+' and the value, or '-' if there was none; '' for everything

local before = answered()
if before then
  return before
end

-- HDEL and DEL are writes that Redis never refuses: when Redis is full, it lets a script go on that has begun to write.
if ARGV[2] then
  local value = redis.call('HGET', KEYS[2], ARGV[2])
  redis.call('HDEL', KEYS[2], ARGV[2])
  return answer(value and '+' .. value or '-')
end
redis.call('DEL', KEYS[2])
return answer('')
