-- mp_locks.lua: locks and semaphores, for the steps that take or let go of one; put before them, after mp_wake.lua.
--
-- <lock>      hash  kind (semaphore, rlock), value (how often it can be acquired), initial, most; owner (process/thread that
--                   acquired it last), count (of an rlock's owner); orphans (how many of the value an ended process took with
--                   it), died (that process), offered (when those who wait were called last)
-- <lock>:h    hash  process -> how often it has acquired more than released
-- <lock>:w    zset  who waits

-- While all waiters are newer than this, any client may acquire the lock, which is fastest; then the oldest waiter goes first.
local NEWCOMERS_US = 10000
-- A waiter that does not come within this time after it was called (it was stopped, or is gone) is passed over.
local OFFER_US = 500000

local function lock_read(lock)
  local field = redis.call('HMGET', lock, 'kind', 'value', 'initial', 'most', 'orphans', 'owner', 'count', 'offered')
  return {
    recursive = field[1] == 'rlock', value = tonumber(field[2]), initial = tonumber(field[3]), most = tonumber(field[4]),
    orphans = tonumber(field[5] or 0), owner = field[6], count = tonumber(field[7] or 0), offered = tonumber(field[8] or 0),
  }
end

-- Calls the waiters whose turn it is; they stay on the list until they have it.
local function lock_offer(lock, free)
  if free < 1 then
    return
  end
  local waiting = redis.call('ZRANGE', lock .. ':w', 0, free - 1)
  if #waiting > 0 then
    redis.call('HSET', lock, 'offered', string.format('%.0f', microseconds()))
  end
  for _, client in ipairs(waiting) do
    call(client, lock .. ':w')
  end
end

-- Whether it is the client's turn, of a lock that can be acquired `free` times.
local function lock_turn(lock, state, free)
  local waiting = redis.call('ZRANGE', lock .. ':w', 0, free - 1, 'WITHSCORES')
  if #waiting < 2 * free then
    return true
  end
  for place = 1, #waiting, 2 do
    if waiting[place] == WAITER then
      return true
    end
  end
  local now = microseconds()
  if now - tonumber(waiting[2]) < NEWCOMERS_US then
    return true
  end
  if now - state.offered > OFFER_US then
    redis.call('ZREM', lock .. ':w', waiting[1])
    return true
  end
  return false
end

-- No longer waits. If it was called, the next has to be.
local function lock_leave(lock, free)
  if leave(lock .. ':w') then
    lock_offer(lock, free)
  end
end

-- '+': acquired; '+d': acquired, and the process that had it ended without releasing it; '-': not now.
local function lock_acquire(lock, state, owner, mode, times)
  if state.recursive and state.owner == owner then
    redis.call('HINCRBY', lock, 'count', times)
    return '+'
  end
  local free = state.value + state.orphans
  if free < 1 or not lock_turn(lock, state, free) then
    if mode == 'wait' then
      await(lock .. ':w')
    else
      lock_leave(lock, free)
    end
    return '-'
  end
  leave(lock .. ':w')
  local orphan = state.value < 1
  redis.call('HINCRBY', lock, orphan and 'orphans' or 'value', -1)
  redis.call('HSET', lock, 'owner', owner, 'count', times)
  if redis.call('HINCRBY', lock .. ':h', PROCESS, 1) == 1 then
    note(PROCESS, 'l' .. lock)
  end
  lock_offer(lock, free - 1)
  return orphan and '+d' or '+'
end

-- Another process may release it than acquired it: then it counts for one of those that did.
local function lock_unhold(lock)
  local holders = lock .. ':h'
  local holder = PROCESS
  if redis.call('HEXISTS', holders, holder) == 0 then
    holder = redis.call('HKEYS', holders)[1]
  end
  if holder and redis.call('HINCRBY', holders, holder, -1) < 1 then
    redis.call('HDEL', holders, holder)
  end
end

-- '+': released; '!': there is nothing that this owner could release.
local function lock_release(lock, state, owner, times)
  local orphans = state.orphans
  if state.recursive then
    if state.owner ~= owner then
      return '!'
    end
    if state.count > times then
      redis.call('HINCRBY', lock, 'count', -times)
      return '+'
    end
  else
    if state.value >= state.most then
      return '!'
    end
    if orphans > 0 then
      orphans = redis.call('HINCRBY', lock, 'orphans', -1)
    end
  end
  redis.call('HINCRBY', lock, 'value', 1)
  redis.call('HDEL', lock, 'owner', 'count')
  lock_unhold(lock)
  lock_offer(lock, state.value + 1 + orphans)
  return '+'
end
