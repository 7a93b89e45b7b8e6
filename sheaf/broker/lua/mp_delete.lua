-- mp_delete.lua: removes a shared object before its program ends.
--
-- KEYS 1, 2  as in mp_step.lua, which is put before this
-- ARGV 1, 2  as there
--      3… its keys

local before = answered()
if before then
  return before
end
for place = 3, #ARGV do
  redis.call('UNLINK', ARGV[place])
  redis.call('SREM', PREFIX .. 'keys', ARGV[place])
end
return answer('+')
