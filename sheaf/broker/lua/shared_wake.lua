-- shared_wake.lua: what shared_put.lua and shared_take.lua share; it is put before them.

-- A wakeup that is lost costs little: a waiter checks every second anyway.
local function wake(key)
  if redis.call('LLEN', key) < 100 then
    redis.call('RPUSH', key, '1')
  end
  redis.call('PEXPIRE', key, 5000)
end
