-- mp_ended.lua: a process of a program has ended. What it held goes on to others, it is taken off the lists of waiters, and
-- none of its steps is accepted from now on. Done again, it changes nothing.
--
-- KEYS 1  sheaf:mp:programs
--      2  sheaf:mp:<program>:clients
-- ARGV 1  the process; 2  1: it was killed, 0: it ended by itself
-- Returns 1; 0 if that was known, or the program has ended

local killed = ARGV[2] == '1'
local HELD = PREFIX .. 'held:' .. PROCESS
if not redis.call('ZSCORE', KEYS[1], string.match(PREFIX, '([^:]*):$')) then
  return 0
end
if redis.call('SADD', PREFIX .. 'ended', PROCESS) == 0 then
  return 0
end

local function is_its(client)
  return string.match(client, '^[^/]*') == PROCESS
end

local ended = {}

-- It waited for something.
function ended.w(key)
  for _, client in ipairs(redis.call('ZRANGE', key, 0, -1)) do
    if is_its(client) then
      redis.call('ZREM', key, client)
    end
  end
  -- The last call may have gone to it alone.
  local first = redis.call('ZRANGE', key, 0, 0)[1]
  if first then
    call(first, key)
  end
end

-- The next waiter may take its lock, unless another process releases it in its place. A semaphore may have been acquired for
-- good (it counts something): it becomes free only if the process was killed, and never beyond its initial value.
function ended.l(lock)
  local times = tonumber(redis.call('HGET', lock .. ':h', PROCESS) or 0)
  redis.call('HDEL', lock .. ':h', PROCESS)
  local state = lock_read(lock)
  if times < 1 or not state.value or not (killed or state.most == 1) then
    return
  end
  local orphans = math.min(times, state.initial - state.value - state.orphans)
  if orphans > 0 then
    redis.call('HINCRBY', lock, 'orphans', orphans)
    redis.call('HSET', lock, 'died', PROCESS)
    if state.owner and is_its(state.owner) then
      redis.call('HDEL', lock, 'owner', 'count')
    end
    lock_offer(lock, state.value + state.orphans + orphans)
  end
end

-- What notified it is passed on to the next who waits.
function ended.c(condition)
  local passed = 0
  for _, ticket in ipairs(redis.call('SMEMBERS', condition .. ':n')) do
    if is_its(ticket) then
      redis.call('SREM', condition .. ':n', ticket)
      passed = passed + 1
    end
  end
  for _, ticket in ipairs(redis.call('ZRANGE', condition .. ':t', 0, -1)) do
    if is_its(ticket) then
      redis.call('ZREM', condition .. ':t', ticket)
    elseif passed > 0 then
      redis.call('ZREM', condition .. ':t', ticket)
      redis.call('SADD', condition .. ':n', ticket)
      call(ticket, condition)
      passed = passed - 1
    end
  end
end

-- Those who wait at a barrier for a process that was killed would wait for ever.
function ended.b(barrier)
  local waited = redis.call('HGET', barrier, 'broken') == '0' and killed
  for _, client in ipairs(redis.call('SMEMBERS', barrier .. ':m')) do
    waited = waited or is_its(client)
  end
  if waited then
    barrier_break(barrier, 'ended ' .. PROCESS)
  end
end

-- What it has taken and not reported as done will not be done.
function ended.q(queue)
  local taken = tonumber(redis.call('HGET', queue .. ':h', PROCESS) or 0)
  redis.call('HDEL', queue .. ':h', PROCESS)
  if taken > 0 and redis.call('EXISTS', queue) == 1 then
    redis.call('HINCRBY', queue, 'abandoned', taken)
    wake(queue .. ':j', 0)
  end
end

function ended.p(pipe_end)
  if redis.call('HDEL', pipe_end .. ':h', PROCESS) == 1 and not end_is_open(pipe_end) then
    wake(other(pipe_end) .. ':w', 0)
  end
end

for _, what in ipairs(redis.call('SMEMBERS', HELD)) do
  ended[string.sub(what, 1, 1)](string.sub(what, 2))
end
redis.call('DEL', HELD)
redis.call('SREM', PREFIX .. 'keys', HELD)
for _, client in ipairs(redis.call('HKEYS', KEYS[2])) do
  if is_its(client) then
    redis.call('HDEL', KEYS[2], client)
  end
end
redis.call('PUBLISH', PREFIX .. 'wake', 'processes')
return 1
