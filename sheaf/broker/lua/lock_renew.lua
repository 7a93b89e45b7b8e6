-- lock_renew.lua: gives a lease its full length again.
--
-- KEYS 1  sheaf:lock:<name>  hash  holder, label, token, since_ms, until_ms, lease_ms
-- ARGV 1  the holder's id
--      2  length of the lease, ms
-- Returns 1, or 0 if the lock is no longer this holder's

if redis.call('HGET', KEYS[1], 'holder') ~= ARGV[1] then
  return 0
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
local time = redis.call('TIME')
redis.call('HSET', KEYS[1], 'until_ms', time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[2], 'lease_ms', ARGV[2])
return 1
