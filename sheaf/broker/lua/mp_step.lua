-- mp_step.lua: what the steps of `sheaf.multiprocessing` have in common; it is put before them. A request is answered once: a
-- replay, after a lost reply, gets the same answer and changes nothing.
--
-- KEYS 1  sheaf:mp:programs            zset  program -> when its lease ends
--      2  sheaf:mp:<program>:clients   hash  client -> its last request and the answer to it
--      3  sheaf:mp:<program>:o:<id>    hash  the object; what belongs to it has this name and a suffix
-- ARGV 1  client: <process>/<which of its calls>, which is also the name under which it waits
--      2  request

local PREFIX = string.sub(KEYS[2], 1, -#'clients' - 1)
local PROCESS = string.match(ARGV[1], '^[^/]*')
local WAITER = ARGV[1]

-- A step after the end of its program or process would leave keys for ever, or take what belongs to another process now.
if not redis.call('ZSCORE', KEYS[1], string.match(PREFIX, '([^:]*):$')) then
  return redis.error_reply('MPGONE program')
end
if redis.call('SISMEMBER', PREFIX .. 'ended', PROCESS) == 1 then
  return redis.error_reply('MPGONE process')
end
if KEYS[3] and redis.call('EXISTS', KEYS[3]) == 0 then
  return redis.error_reply('MPGONE object')
end

-- The answer that this request has had already; nil if it has had none.
local function answered()
  local last = redis.call('HGET', KEYS[2], ARGV[1])
  if last and string.sub(last, 1, #ARGV[2]) == ARGV[2] then
    return string.sub(last, #ARGV[2] + 1)
  end
  return nil
end

local function answer(text)
  redis.call('HSET', KEYS[2], ARGV[1], ARGV[2] .. text)
  return text
end

-- A key that ends with the program.
local function keep(key)
  redis.call('SADD', PREFIX .. 'keys', key)
end
