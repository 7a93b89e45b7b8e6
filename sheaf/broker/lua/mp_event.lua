-- mp_event.lua: sets, clears, or waits for an event. Never blocks.
--
-- KEYS, ARGV 1, 2  as in mp_step.lua, which is put before this
--      KEYS 3      hash  set (0, 1), times (how often it was set); <event>:w  zset  who waits
-- ARGV 3  what to do: set, clear
--         wait  in the mode 4 (try, wait, last: as in mp_lock.lua), since it had been set 5 times ('': from now on).
--               Returns '+' if it is set, or was since then, or '-' and how often it has been set

local what, event = ARGV[3], KEYS[3]
if what == 'wait' then
  local field = redis.call('HMGET', event, 'set', 'times')
  if field[1] == '1' or (ARGV[5] ~= '' and field[2] ~= ARGV[5]) then
    leave(event .. ':w')
    return '+'
  end
  if ARGV[4] == 'wait' then
    await(event .. ':w')
  else
    leave(event .. ':w')
  end
  return '-' .. field[2]
end

local before = answered()
if before then
  return before
end
if what == 'set' then
  if redis.call('HGET', event, 'set') == '0' then
    redis.call('HSET', event, 'set', 1)
    redis.call('HINCRBY', event, 'times', 1)
    wake(event .. ':w', 0)
  end
else
  redis.call('HSET', event, 'set', 0)
end
return answer('+')
