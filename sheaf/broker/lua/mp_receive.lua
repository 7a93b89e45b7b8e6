-- mp_receive.lua: receives a message from a pipe, or opens and closes its ends. Never blocks.
--
-- KEYS, ARGV 1, 2  as in mp_step.lua, which is put before this
-- ARGV 3  what to do:
--         take    at the end 4, in the mode 5 (try, wait, last). Returns '+' and the message as it is in the list, '!' if none
--                 can come any more, or '-'
--         poll    the same without taking it: '+', also if none can come any more, or '-'
--         hold    the end 4 is open for 5 (a process, or '~<token>' on its way to one)
--         drop    the end 4 is closed by 5
--         leave   the client does not wait at the end 4 any more. If its request in 5 has taken a message, that is put back
--         land    the end 4 has come, on its way as 5, and is open for this process now

local what, at = ARGV[3], ARGV[4]
local function nothing()
  if not end_is_open(other(at)) then
    return '!'
  end
  if ARGV[5] == 'wait' then
    await(at .. ':w')
  else
    leave(at .. ':w')
  end
  return '-'
end

if what == 'poll' then
  if redis.call('LLEN', at .. ':v') > 0 or nothing() == '!' then
    return '+'
  end
  return '-'
end

local before = answered()
if before then
  return before
end
if what == 'take' then
  local message = redis.call('LPOP', at .. ':v')
  if not message then
    local why = nothing()
    return why == '-' and why or answer(why)
  end
  leave(at .. ':w')
  if string.sub(message, 1, 1) == 'k' then
    redis.call('PEXPIRE', string.sub(message, 2), 600000)
  end
  return answer('+' .. message)
elseif what == 'leave' then
  local last = redis.call('HGET', KEYS[2], ARGV[1]) or ''
  local entry = string.match(string.sub(last, #ARGV[5] + 1), '^%+([vk].*)$')
  if entry and string.sub(last, 1, #ARGV[5]) == ARGV[5] then
    redis.call('LPUSH', at .. ':v', entry)
    if string.sub(entry, 1, 1) == 'k' then
      redis.call('PERSIST', string.sub(entry, 2))
    end
    wake(at .. ':w', 0)
  end
  leave(at .. ':w')
elseif what == 'hold' then
  end_hold(at, ARGV[5], 1)
elseif what == 'drop' then
  end_hold(at, ARGV[5], -1)
elseif what == 'land' then
  end_hold(at, PROCESS, 1)
  if redis.call('HEXISTS', at .. ':h', ARGV[5]) == 1 then
    end_hold(at, ARGV[5], -1)
  end
end
return answer('+')
