-- mp_dict_set.lua: puts into a dict. Refused when Redis is full.
--
-- KEYS, ARGV 1, 2  as in mp_step.lua, which is put before this
--      KEYS 3      hash  kind, keys (counts up)
--                  <dict>:f  hash  key -> entry: how long the key is, as it was given (4 bytes), it, and the value
--                  <dict>:o  zset  key -> its place in the order of the keys
-- ARGV 3  what to do: set (keys and entries); default (a key, an entry); 4… with what
-- Returns '+'; for default the entry that is there now

local what, dict = ARGV[3], KEYS[3]
local before = answered()
if before then
  return before
end

local function place(key)
  if redis.call('ZSCORE', dict .. ':o', key) == false then
    redis.call('ZADD', dict .. ':o', redis.call('HINCRBY', dict, 'keys', 1), key)
  end
end

-- Of equal keys, such as 1 and True, that which came first stays, as in Python.
local function with_first_key(key, entry)
  local before = redis.call('HGET', dict .. ':f', key)
  if not before then
    return entry
  end
  local length, first = struct.unpack('<I4', entry), struct.unpack('<I4', before)
  if length == 0 and first == 0 then
    return entry
  end
  return string.sub(before, 1, 4 + first) .. string.sub(entry, 5 + length)
end

if what == 'default' then
  local entry = redis.call('HGET', dict .. ':f', ARGV[4])
  if not entry then
    entry = ARGV[5]
    redis.call('HSET', dict .. ':f', ARGV[4], entry)
    place(ARGV[4])
  end
  return answer(entry)
end
for argument = 4, #ARGV, 2 do
  redis.call('HSET', dict .. ':f', ARGV[argument], with_first_key(ARGV[argument], ARGV[argument + 1]))
  place(ARGV[argument])
end
return answer('+')
