-- mp_dict_take.lua: reads a dict, or takes something out of it.
--
-- KEYS, ARGV 1, 2  as in mp_step.lua, which is put before this
--      KEYS 3      as in mp_dict_set.lua
-- ARGV 3  what to do:
--         get      of the key 4. Returns '+' and the entry, or '-'
--         has      the key 4. Returns 0 or 1
--         size
--         keys     Returns keys, in their order
--         entries  Returns keys and entries in turn, in the order of the keys
--         pop      the key 4. Returns '+' and the entry, or '-'
--         popitem  the key that came last. Returns '<bytes of the key>:', it, and its entry; or '-'
--         clear

local what, dict = ARGV[3], KEYS[3]
local fields, order = dict .. ':f', dict .. ':o'
if what == 'get' then
  local entry = redis.call('HGET', fields, ARGV[4])
  return entry and '+' .. entry or '-'
elseif what == 'has' then
  return redis.call('HEXISTS', fields, ARGV[4])
elseif what == 'size' then
  return redis.call('HLEN', fields)
elseif what == 'keys' then
  return redis.call('ZRANGE', order, 0, -1)
elseif what == 'entries' then
  local found = {}
  for place, key in ipairs(redis.call('ZRANGE', order, 0, -1)) do
    found[2 * place - 1], found[2 * place] = key, redis.call('HGET', fields, key)
  end
  return found
end

local before = answered()
if before then
  return before
end
if what == 'clear' then
  redis.call('DEL', fields, order)
  return answer('+')
end
local key = ARGV[4]
if what == 'popitem' then
  key = redis.call('ZRANGE', order, -1, -1)[1]
end
local entry = key and redis.call('HGET', fields, key)
if not entry then
  return answer('-')
end
redis.call('HDEL', fields, key)
redis.call('ZREM', order, key)
return answer((what == 'popitem' and #key .. ':' .. key or '+') .. entry)
