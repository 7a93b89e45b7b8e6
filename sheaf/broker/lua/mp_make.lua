-- mp_make.lua: makes a shared object. Refused when Redis is full.
--
-- KEYS 1, 2  as in mp_step.lua, which is put before this
-- ARGV 1, 2  as there
--      3  the object's key
--      4  how many suffixes follow; the suffixes of its other keys
--      5… fields and values of its hash

local before = answered()
if before then
  return before
end
local count = tonumber(ARGV[4])
keep(ARGV[3])
for place = 5, 4 + count do
  keep(ARGV[3] .. ARGV[place])
end
for place = 5 + count, #ARGV, 2 do
  redis.call('HSET', ARGV[3], ARGV[place], ARGV[place + 1])
end
return answer('+')
