-- mp_list_set.lua: puts into a list. Refused when Redis is full.
--
-- KEYS, ARGV 1, 2  as in mp_step.lua, which is put before this
--      KEYS 3      hash  kind, version (counts up with every change);  <list>:v  list  the values
-- ARGV 3  what to do:
--         append   the values from 4 on
--         set      at the place 4 the value 5. Returns '+', or '!' if there is no such place
--         replace  if the version is 4 still, what there is by the values from 5 on. Returns '+', or '-' if it is another
-- Returns '+' unless it says otherwise

local what, list = ARGV[3], KEYS[3]
local values = list .. ':v'
local before = answered()
if before then
  return before
end

local function push(first)
  for from = first, #ARGV, 1000 do
    redis.call('RPUSH', values, unpack(ARGV, from, math.min(from + 999, #ARGV)))
  end
end

if what == 'set' then
  local length, place = redis.call('LLEN', values), tonumber(ARGV[4])
  if place >= length or place < -length then
    return answer('!')
  end
  redis.call('LSET', values, place, ARGV[5])
elseif what == 'append' then
  push(4)
else
  if redis.call('HGET', list, 'version') ~= ARGV[4] then
    return '-'
  end
  -- First of all, so that a full Redis refuses it as a script, too.
  redis.call('HINCRBY', list, 'version', 1)
  redis.call('DEL', values)
  push(5)
  return answer('+')
end
redis.call('HINCRBY', list, 'version', 1)
return answer('+')
