-- mp_condition.lua: waits at a condition, or notifies those who do. Never blocks.
--
-- KEYS, ARGV 1, 2  as in mp_step.lua, which is put before this
--      KEYS 3      the condition; <condition>:t  zset  tickets of those who wait, by their number
--                                 <condition>:n  set   tickets of those who were notified and do not know it yet
--      KEYS 4      its lock, as in mp_locks.lua
-- ARGV 3  what to do:
--         wait    as the owner in 4: leave a ticket and release the lock, in one step. Returns '+' and how often it was
--                 acquired, or '!' if it is not the owner's; the ticket is '<client>#<request>'
--         check   the ticket in 4, in the mode 5 (wait, or last: take it back). Returns '+' if it was notified, or '-'
--         notify  as the owner in 4, at most 5 of them. Returns '+', or '!' if the lock is not the owner's
--         count   Returns how many wait

local what, condition, lock = ARGV[3], KEYS[3], KEYS[4]
if what == 'count' then
  return redis.call('ZCARD', condition .. ':t')
end

local before = answered()
if before then
  return before
end

if what == 'check' then
  if redis.call('SREM', condition .. ':n', ARGV[4]) == 1 then
    return answer('+')
  end
  if ARGV[5] == 'last' then
    redis.call('ZREM', condition .. ':t', ARGV[4])
  end
  return '-'
end

local state = lock_read(lock)
if state.owner ~= ARGV[4] then
  return answer('!')
end
if what == 'wait' then
  redis.call('ZADD', condition .. ':t', redis.call('HINCRBY', condition, 'tickets', 1), ARGV[1] .. '#' .. ARGV[2])
  note(PROCESS, 'c' .. condition)
  local times = state.recursive and state.count or 1
  lock_release(lock, state, ARGV[4], times)
  return answer('+' .. times)
end
for _, ticket in ipairs(redis.call('ZRANGE', condition .. ':t', 0, tonumber(ARGV[5]) - 1)) do
  redis.call('ZREM', condition .. ':t', ticket)
  redis.call('SADD', condition .. ':n', ticket)
  call(ticket, condition)
end
return answer('+')
