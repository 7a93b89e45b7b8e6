-- mp_barriers.lua: what breaks a barrier; put before steps that do, after mp_wake.lua.
--
-- <barrier>    hash  parties, round (counts up when all are let through, or it is reset), count (how many of this round have
--                    come), acting (the client that runs the action), broken (0, 1), why; b<round> for each round that was
--                    broken off
-- <barrier>:m  set   clients that have come in this round
-- <barrier>:w  zset  who waits

local function barrier_next(barrier)
  redis.call('HINCRBY', barrier, 'round', 1)
  redis.call('HSET', barrier, 'count', 0)
  redis.call('HDEL', barrier, 'acting')
  redis.call('DEL', barrier .. ':m')
  wake(barrier .. ':w', 0)
end

-- All who wait get an error, and so do those who come before it is reset.
local function barrier_break(barrier, why)
  redis.call('HSET', barrier, 'broken', 1, 'why', why, 'b' .. redis.call('HGET', barrier, 'round'), 1)
  barrier_next(barrier)
end
