-- mp_lock.lua: acquires or releases a lock or a semaphore, or says how it is. Never blocks.
--
-- KEYS, ARGV 1, 2  as in mp_step.lua, which is put before this
-- ARGV 3  what to do:
--         acquire  as the owner in 4, in the mode 5 (try, wait: put me on the list if it cannot be had, last: and take me off it),
--                  as often as 6 says. Returns '+', '+d<process>' (it ended without releasing), or '-' for not now
--         give_up  the owner in 4 has stopped waiting, perhaps after the request in 5 had acquired it
--         release  as the owner in 4. Returns '+', or '!' if it is not to be released
--         look     Returns value, owner, count

local what, lock = ARGV[3], KEYS[3]
local state = lock_read(lock)
if what == 'look' then
  return {state.value, state.owner or '', state.count}
end

local before = answered()
if before then
  return before
end

if what == 'acquire' then
  local done = lock_acquire(lock, state, ARGV[4], ARGV[5], tonumber(ARGV[6]))
  if done == '-' then
    return done
  end
  return answer(done == '+d' and '+d' .. (redis.call('HGET', lock, 'died') or '') or done)
elseif what == 'give_up' then
  local last = redis.call('HGET', KEYS[2], ARGV[1]) or ''
  if ARGV[5] ~= '' and string.sub(last, 1, #ARGV[5] + 1) == ARGV[5] .. '+' then
    lock_release(lock, state, ARGV[4], 1)
  else
    lock_leave(lock, state.value + state.orphans)
  end
  return answer('+')
elseif what == 'release' then
  return answer(lock_release(lock, state, ARGV[4], 1))
end
return redis.error_reply('no such step: ' .. what)
