-- mp_list_take.lua: reads a list, or takes a value off one of its ends.
--
-- KEYS, ARGV 1, 2  as in mp_step.lua, which is put before this
--      KEYS 3      as in mp_list_set.lua
-- ARGV 3  what to do:
--         get    at the place 4. Returns '+' and the value, or '-'
--         size
--         range  from the place 4 to the place 5. Returns values
--         all    Returns the version, then the values
--         pop    the last, or the first if 4 is 0. Returns '+' and the value, or '-'

local what, list = ARGV[3], KEYS[3]
local values = list .. ':v'
if what == 'get' then
  local value = redis.call('LINDEX', values, ARGV[4])
  return value and '+' .. value or '-'
elseif what == 'size' then
  return redis.call('LLEN', values)
elseif what == 'range' then
  return redis.call('LRANGE', values, ARGV[4], ARGV[5])
elseif what == 'all' then
  local found = redis.call('LRANGE', values, 0, -1)
  table.insert(found, 1, redis.call('HGET', list, 'version'))
  return found
end

local before = answered()
if before then
  return before
end
local value
if ARGV[4] == '0' then
  value = redis.call('LPOP', values)
else
  value = redis.call('RPOP', values)
end
if not value then
  return answer('-')
end
redis.call('HINCRBY', list, 'version', 1)
return answer('+' .. value)
