-- shared_request.lua: what the scripts of shared objects have in common; it is put before them. A request is answered once:
-- a replay, after a lost reply, gets the same answer and changes nothing.
--
-- KEYS 1  sheaf:client:<id>  string  the last request of this client (one thread of a program), and its answer; a minute
-- ARGV 1  request

-- The answer that this request has had already; nil if it has had none.
local function answered()
  local last = redis.call('GET', KEYS[1])
  if last and string.sub(last, 1, #ARGV[1]) == ARGV[1] then
    return string.sub(last, #ARGV[1] + 1)
  end
  return nil
end

local function answer(text)
  redis.call('SET', KEYS[1], ARGV[1] .. text, 'PX', 60000)
  return text
end
