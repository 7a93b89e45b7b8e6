-- shared_wake.lua: what shared_put.lua and shared_take.lua share; it is put before them.

-- A call that nobody hears costs a waiter one look; without a call it looks after a second.
local function wake(key)
  if redis.call('LLEN', key) < 100 then
    redis.call('RPUSH', key, '1')
  end
  redis.call('PEXPIRE', key, 5000)
end
