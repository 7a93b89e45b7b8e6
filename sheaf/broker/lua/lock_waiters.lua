-- lock_waiters.lua: what lock_acquire.lua and lock_release.lua share; it is put before them.
--
-- KEYS 1 sheaf:lock:<name>          hash    holder, label, token, since_ms, until_ms, lease_ms
--      2 sheaf:lock:<name>:token    string  the last token given out
--      3 sheaf:lock:<name>:waiters  list    waiters' ids, first come first
--      4 sheaf:lock:<name>:seen     hash    waiter's id -> ms of its last sign of life

-- The moment, by Redis's clock, in milliseconds.
local function milliseconds()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- The first waiter that is alive; those before it that have been silent for too long are dropped.
local function first_waiter(now, silence_ms)
  while true do
    local head = redis.call('LINDEX', KEYS[3], 0)
    if not head then
      return nil
    end
    local beat = tonumber(redis.call('HGET', KEYS[4], head) or 0) or 0
    if beat > now then
      -- The clock was set back: count the silence from here, or a dead waiter would pass for alive until then.
      redis.call('HSET', KEYS[4], head, now)
      beat = now
    end
    if now - beat <= silence_ms then
      return head
    end
    redis.call('LPOP', KEYS[3])
    redis.call('HDEL', KEYS[4], head)
  end
end

-- Tell a waiter that it is its turn. Its list holds at most one call, however often it is woken.
local function wake(prefix, waiter)
  if redis.call('EXISTS', prefix .. waiter) == 0 then
    redis.call('RPUSH', prefix .. waiter, '1')
    redis.call('PEXPIRE', prefix .. waiter, 5000)
  end
end
