-- lock_acquire.lua: takes the lock if it is free and this waiter's turn; else queues up, or shows a sign of life.
--
-- KEYS 1-4  as in lock_waiters.lua, which is put before this
-- ARGV 1    the waiter's id, unique to this attempt
--      2    label, for people
--      3    length of the lease, ms
--      4    floor: the token will be greater
--      5    silence_ms: a waiter silent for longer is taken for dead
--      6    prefix of the wake lists, sheaf:lock:<name>:wake:
-- Returns {token, 0, '', '', 0} when the lock is ours,
--         {0, ms left of the lease, holder, holder's label, ms it is held} when another owner has it,
--         {0, 0, next waiter, '', 0} when it is free, but another waiter's turn

local waiter, lease_ms = ARGV[1], tonumber(ARGV[3])
local now = milliseconds()

-- A first write that Redis never refuses: when Redis is full, it lets a script go on that has begun to write.
redis.call('HDEL', KEYS[4], '')

local held = redis.call('HMGET', KEYS[1], 'holder', 'label', 'token', 'since_ms', 'until_ms', 'lease_ms')
local holder = held[1]
local left = 0

-- Whether these are the fields of a lease; producers may write here, too. No lease is longer than an hour.
local function is_lease()
  for field = 3, 6 do
    local value = tonumber(held[field])
    if not value or value ~= value or value < 0 or value > 9007199254740992 then
      return false
    end
  end
  return held[2] and tonumber(held[6]) <= 3600000
end

if redis.call('EXISTS', KEYS[1]) == 1 and not (holder and is_lease()) then
  redis.call('DEL', KEYS[1])
  holder = nil
end
if holder then
  left = held[5] - now
  if left > tonumber(held[6]) then
    -- The clock was set back: no lease has more left than its whole length.
    left = tonumber(held[6])
    redis.call('HSET', KEYS[1], 'until_ms', now + left)
    redis.call('PEXPIRE', KEYS[1], left)
  end
end

if left > 0 and holder == waiter then
  -- A replay: we have it already, but the answer was lost.
  return {tonumber(held[3]), 0, '', '', 0}
end

local head
if left <= 0 then
  head = first_waiter(now, tonumber(ARGV[5]))
  if not head or head == waiter then
    redis.call('LREM', KEYS[3], 0, waiter)
    redis.call('HDEL', KEYS[4], waiter)
    local last = tonumber(redis.call('GET', KEYS[2]) or 0)
    if not last or last ~= last or last < 0 or last > 4503599627370496 then
      -- No token of ours; the index's highest one, which is the floor, is enough.
      last = 0
    end
    local token = math.max(last, tonumber(ARGV[4])) + 1
    redis.call('SET', KEYS[2], string.format('%.0f', token))
    if string.find(KEYS[2], 'sheaf:lock:output:sessions/', 1, true) == 1 then
      -- A program's output ends with it, and nothing comes back to remove this; the index's highest token is the floor.
      redis.call('PEXPIRE', KEYS[2], 86400000)
    end
    redis.call('HSET', KEYS[1], 'holder', waiter, 'label', ARGV[2], 'token', string.format('%.0f', token),
      'since_ms', now, 'until_ms', now + lease_ms, 'lease_ms', lease_ms)
    redis.call('PEXPIRE', KEYS[1], lease_ms)
    return {token, 0, '', '', 0}
  end
  -- The last holder may have died before it could wake the next waiter.
  wake(ARGV[6], head)
end

if redis.call('HEXISTS', KEYS[4], waiter) == 0 then
  redis.call('RPUSH', KEYS[3], waiter)
end
redis.call('HSET', KEYS[4], waiter, now)
-- Nothing is left when all waiters have died.
redis.call('PEXPIRE', KEYS[3], 60000)
redis.call('PEXPIRE', KEYS[4], 60000)

if left > 0 then
  return {0, left, holder, held[2], now - held[4]}
end
return {0, 0, head, '', 0}
