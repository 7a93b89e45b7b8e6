-- mp_barrier.lua: comes to a barrier, waits at it, breaks or resets it. Never blocks.
--
-- KEYS, ARGV 1, 2  as in mp_step.lua, which is put before this
--      KEYS 3      the barrier, as in mp_barriers.lua
-- ARGV 3  what to do:
--         come     with an action to run: 4 (0, 1). Returns '+<index> <round>'; '=<index>' for the last, after which all go on;
--                  'a<index>' for the last if it has to run the action first; '-' while the action of this round runs (4: mode
--                  in 5); '!' and why it is broken
--         done     the action has been run: all go on
--         check    of the round 4, in the mode 5 (wait, or last: break it). Returns '+' if all have come, '!' and why, or '-'
--         quit     of the round 4: no longer waits, by an exception
--         abort    for the reason in 4
--         reset
--         look     Returns parties, how many wait, broken
--         have     This process has the barrier: if it is killed, the others do not wait for it

local what, barrier = ARGV[3], KEYS[3]
local field = redis.call('HMGET', barrier, 'parties', 'round', 'count', 'acting', 'broken', 'why')
local parties, round, count, acting = tonumber(field[1]), field[2], tonumber(field[3]), field[4]
local broken, why = field[5] == '1', field[6] or ''
if what == 'look' then
  return {parties, broken and 0 or count, broken and 1 or 0}
end

local before = answered()
if before then
  return before
end

if what == 'come' then
  note(PROCESS, 'b' .. barrier)
  if broken then
    return answer('!' .. why)
  end
  if acting then
    if ARGV[5] == 'wait' then
      await(barrier .. ':w')
    end
    return '-'
  end
  leave(barrier .. ':w')
  redis.call('HINCRBY', barrier, 'count', 1)
  redis.call('SADD', barrier .. ':m', WAITER)
  if count + 1 < parties then
    return answer('+' .. count .. ' ' .. round)
  end
  if ARGV[4] == '1' then
    redis.call('HSET', barrier, 'acting', WAITER)
    return answer('a' .. count)
  end
  barrier_next(barrier)
  return answer('=' .. count)
elseif what == 'check' then
  if redis.call('HEXISTS', barrier, 'b' .. ARGV[4]) == 1 then
    return answer('!' .. why)
  elseif round ~= ARGV[4] then
    return answer('+')
  elseif ARGV[5] == 'wait' then
    await(barrier .. ':w')
    return '-'
  end
  barrier_break(barrier, 'timeout')
  return answer('!timeout')
elseif what == 'done' then
  -- Unless it was broken or reset meanwhile.
  if acting == WAITER then
    barrier_next(barrier)
  end
elseif what == 'quit' then
  leave(barrier .. ':w')
  if round == ARGV[4] and redis.call('SREM', barrier .. ':m', WAITER) == 1 then
    redis.call('HINCRBY', barrier, 'count', -1)
  end
elseif what == 'abort' then
  barrier_break(barrier, ARGV[4])
elseif what == 'reset' then
  if count > 0 then
    barrier_break(barrier, 'reset')
  end
  redis.call('HSET', barrier, 'broken', 0)
elseif what == 'have' then
  note(PROCESS, 'b' .. barrier)
end
return answer('+')
