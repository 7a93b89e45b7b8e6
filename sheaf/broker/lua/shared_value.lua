-- shared_value.lua: adds to a counter or a dict, or sets what it holds. Refused when Redis is full.
--
-- KEYS 1  as in shared_request.lua, which is put before this
--      2  sheaf:counter:<name>  string  the count, or
--         sheaf:dict:<name>     hash    key -> value, both as JSON
-- ARGV 1  request
--      2  what to do: add (a number), set (a number); put (key, value, …), default (key, value)
--      3… with what
-- Returns the new count; for `default` the value that is there now

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
end
return redis.error_reply('no such change: ' .. what)
