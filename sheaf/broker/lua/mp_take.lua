-- mp_take.lua: takes a value out of a queue, or says how it is. Never blocks.
--
-- KEYS, ARGV 1, 2  as in mp_step.lua, which is put before this
--      KEYS 3      the queue, as in mp_put.lua: unfinished (values put without a task_done), abandoned (how many of these were
--                  taken by processes that have ended); <queue>:h  hash  process -> how many it has taken without a task_done
--                  <queue>:j  zset  who waits until all is done
-- ARGV 3  what to do:
--         take    in the mode 4 (try, wait, last). Returns '+' and the value as it is in the list, or '-'
--         leave   The client does not wait any more. If its request in 4 has taken a value, that is put back
--         done    Returns '+', or '!' if there was nothing left to be done
--         join    in the mode 4. Returns '+', '-', or '!' and how many were taken by processes that have ended
--         size    Returns how many values are in it

local what, queue = ARGV[3], KEYS[3]
if what == 'size' then
  return redis.call('LLEN', queue .. ':v')
end

local before = answered()
if before then
  return before
end

local function to_do()
  local field = redis.call('HMGET', queue, 'unfinished', 'abandoned')
  return tonumber(field[1] or 0), tonumber(field[2] or 0)
end

if what == 'take' then
  local value = redis.call('LPOP', queue .. ':v')
  if not value then
    if ARGV[4] == 'wait' then
      await(queue .. ':w')
    else
      leave(queue .. ':w')
    end
    return '-'
  end
  leave(queue .. ':w')
  if string.sub(value, 1, 1) == 'k' then
    redis.call('PEXPIRE', string.sub(value, 2), 600000)
  end
  redis.call('HINCRBY', queue .. ':h', PROCESS, 1)
  note(PROCESS, 'q' .. queue)
  wake(queue .. ':p', 1)
  return answer('+' .. value)
elseif what == 'leave' then
  local last = redis.call('HGET', KEYS[2], ARGV[1]) or ''
  local entry = string.match(string.sub(last, #ARGV[4] + 1), '^%+([vk].*)$')
  if entry and string.sub(last, 1, #ARGV[4]) == ARGV[4] then
    redis.call('LPUSH', queue .. ':v', entry)
    redis.call('HINCRBY', queue .. ':h', PROCESS, -1)
    if string.sub(entry, 1, 1) == 'k' then
      redis.call('PERSIST', string.sub(entry, 2))
    end
    wake(queue .. ':w', 1)
  end
  -- A client that was called and takes nothing passes the call on.
  if not leave(queue .. ':w') and redis.call('LLEN', queue .. ':v') > 0 then
    wake(queue .. ':w', 1)
  end
  if not leave(queue .. ':p') then
    wake(queue .. ':p', 1)
  end
elseif what == 'done' then
  local unfinished, abandoned = to_do()
  if unfinished < 1 then
    return answer('!')
  end
  if redis.call('HINCRBY', queue .. ':h', PROCESS, -1) < 0 then
    redis.call('HINCRBY', queue .. ':h', PROCESS, 1)
    if abandoned > 0 then
      abandoned = redis.call('HINCRBY', queue, 'abandoned', -1)
    end
  end
  if redis.call('HINCRBY', queue, 'unfinished', -1) <= abandoned then
    wake(queue .. ':j', 0)
  end
elseif what == 'join' then
  local unfinished, abandoned = to_do()
  if unfinished <= abandoned then
    return answer(abandoned > 0 and unfinished > 0 and '!' .. abandoned or '+')
  end
  await(queue .. ':j')
  return '-'
end
return answer('+')
