-- mp_pipe.lua: the ends of a pipe; put before the steps that use them, after mp_wake.lua.
--
-- <pipe>.0, <pipe>.1  the ends; each of them has
--   :v  list  what was sent to it: 'v' and the message, or 'k' and the key that holds it
--   :h  hash  who has it open -> how often: processes, and '~<token>' for one that is on its way inside a value
--   :w  zset  who waits at it

local function other(pipe_end)
  return string.sub(pipe_end, 1, -2) .. (string.sub(pipe_end, -1) == '0' and '1' or '0')
end

local function end_is_open(pipe_end)
  return redis.call('HLEN', pipe_end .. ':h') > 0
end

local function end_hold(pipe_end, holder, times)
  if redis.call('HINCRBY', pipe_end .. ':h', holder, times) < 1 then
    redis.call('HDEL', pipe_end .. ':h', holder)
  end
  if times > 0 and string.sub(holder, 1, 1) ~= '~' then
    note(holder, 'p' .. pipe_end)
  end
  -- Those who wait for a message learn that none can come any more.
  if not end_is_open(pipe_end) then
    wake(other(pipe_end) .. ':w', 0)
  end
end
