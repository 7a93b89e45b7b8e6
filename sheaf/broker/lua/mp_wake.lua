-- mp_wake.lua: waiting and being woken; it is put before steps that need it, after what sets PREFIX and PROCESS.
--
-- Who waits is in a zset of the object: client -> since when (microseconds, Redis's clock). Each process listens on a channel of
-- its own, so a wakeup reaches only those who wait. One that is lost costs little: a waiter looks every second anyway.

local function microseconds()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000000 + tonumber(time[2])
end

-- Of a process, the objects that have something of it; for its end (mp_ended.lua).
local function note(process, what)
  local list = PREFIX .. 'held:' .. process
  if redis.call('SADD', list, what) == 1 then
    redis.call('SADD', PREFIX .. 'keys', list)
  end
end

local function await(key)
  if redis.call('ZADD', key, 'NX', string.format('%.0f', microseconds()), WAITER) == 1 then
    note(PROCESS, 'w' .. key)
  end
end

-- Tells a client that something has happened to an object; the message is the object's key.
local function call(client, key)
  redis.call('PUBLISH', PREFIX .. 'wake:' .. string.match(client, '^[^/]*'), key)
end

-- Calls those who have waited longest, and takes them off the list: who finds nothing puts himself on it again.
local function wake(key, most)
  for _, client in ipairs(redis.call('ZRANGE', key, 0, most - 1)) do
    redis.call('ZREM', key, client)
    call(client, key)
  end
end

-- Takes a waiter off the list. False: he was called already, or never on it.
local function leave(key)
  return redis.call('ZREM', key, WAITER) == 1
end
