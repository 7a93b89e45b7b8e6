-- shared_value.lua: changes a counter or a dict.
--
-- KEYS 1  as in shared_request.lua, which is put before this
--      2  sheaf:counter:<name>  string  the count, or
--         sheaf:dict:<name>     hash    key -> value, both as JSON
-- ARGV 1  request
--      2  what to do: add (a number), set (a number); put (key, value, …), default (key, value), pop (key), clear
--      3… with what
-- Returns the new count; for `default` the value that is there now; for `pop` '+' and the value, or '-' if there was none

local before = answered()
if before then
  return before
end

local what = ARGV[2]
if what == 'add' then
  redis.call('INCRBY', KEYS[2], ARGV[3])
  -- As text: a number of Lua's has 53 bits.
  return answer(redis.call('GET', KEYS[2]))
elseif what == 'set' then
  redis.call('SET', KEYS[2], ARGV[3])
  return answer(ARGV[3])
elseif what == 'put' then
  for position = 3, #ARGV, 2 do
    redis.call('HSET', KEYS[2], ARGV[position], ARGV[position + 1])
  end
  return answer('')
elseif what == 'default' then
  redis.call('HSETNX', KEYS[2], ARGV[3], ARGV[4])
  return answer(redis.call('HGET', KEYS[2], ARGV[3]))
elseif what == 'pop' then
  local value = redis.call('HGET', KEYS[2], ARGV[3])
  -- HDEL is a write that Redis never refuses: when Redis is full, it lets a script go on that has begun to write.
  redis.call('HDEL', KEYS[2], ARGV[3])
  return answer(value and '+' .. value or '-')
elseif what == 'clear' then
  redis.call('DEL', KEYS[2])
  return answer('')
end
return redis.error_reply('no such change: ' .. what)
