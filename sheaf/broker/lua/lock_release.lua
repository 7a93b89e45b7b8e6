-- lock_release.lua: lets go of the lock, or of a place among its waiters, and wakes the next in line.
--
-- KEYS 1-4  as in lock_waiters.lua, which is put before this
-- ARGV 1    the id of the holder or waiter that lets go
--      2    silence_ms: a waiter silent for longer is taken for dead
--      3    prefix of the wake lists, sheaf:lock:<name>:wake:
-- Returns 1 if the lock was this holder's, 0 if not (it never was, the lease ran out, or this is a replay)

local released = 0
redis.call('HDEL', KEYS[4], ARGV[1])
redis.call('LREM', KEYS[3], 0, ARGV[1])
redis.call('DEL', ARGV[3] .. ARGV[1])
if redis.call('HGET', KEYS[1], 'holder') == ARGV[1] then
  redis.call('DEL', KEYS[1])
  released = 1
end
if redis.call('EXISTS', KEYS[1]) == 0 then
  local head = first_waiter(milliseconds(), tonumber(ARGV[2]))
  if head then
    wake(ARGV[3], head)
  end
end
return released
