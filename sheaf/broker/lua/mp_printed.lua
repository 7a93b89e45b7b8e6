-- mp_printed.lua: a program reads what its processes have printed. What it says it has is removed, so a replay loses nothing.
--
-- KEYS 1  sheaf:mp:<program>:out   list  what was printed
--      2  sheaf:mp:<program>:outs  hash  first: the number of the list's first entry; bytes: in the list
-- ARGV 1  the number of the last entry that the program has
--      2  how many entries at most
-- Returns {number of the first entry that follows, entry, …}

local first = tonumber(redis.call('HGET', KEYS[2], 'first') or 1)
local had = tonumber(ARGV[1])
while first <= had do
  -- LPOP is a write that Redis never refuses: when Redis is full, it lets a script go on that has begun to write.
  local entry = redis.call('LPOP', KEYS[1])
  if not entry then
    break
  end
  first = first + 1
  redis.call('HINCRBY', KEYS[2], 'bytes', -#entry)
  redis.call('HSET', KEYS[2], 'first', first)
end
return {first, unpack(redis.call('LRANGE', KEYS[1], 0, tonumber(ARGV[2]) - 1))}
