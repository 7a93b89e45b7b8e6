-- mp_lost.lua: which processes were on workers that are gone. Those that have been reported as ended are no longer named;
-- a worker without any is forgotten.
--
-- KEYS 1  sheaf:mp:hosts  hash  worker -> `ms at which its lease runs out, processes, places that are free`
--      and the workers' sets and hashes, sheaf:mp:hosted:<worker>, sheaf:mp:signals:<worker>
-- ARGV 1  how many processes at most
-- Returns {worker, `program process`, worker, …}

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local lost = {}
local hosts = redis.call('HGETALL', KEYS[1])
for position = 1, #hosts, 2 do
  local worker = hosts[position]
  local until_ms = tonumber(string.match(hosts[position + 1], '^%d+') or 0)
  if until_ms <= now then
    local hosted = redis.call('SMEMBERS', 'sheaf:mp:hosted:' .. worker)
    for _, process in ipairs(hosted) do
      if not string.match(process, '^%x+ %x+$') then
        redis.call('SREM', 'sheaf:mp:hosted:' .. worker, process)
      elseif #lost < 2 * tonumber(ARGV[1]) then
        lost[#lost + 1], lost[#lost + 2] = worker, process
      end
    end
    if #hosted == 0 then
      redis.call('HDEL', KEYS[1], worker)
      redis.call('DEL', 'sheaf:mp:signals:' .. worker)
    end
  end
end
return lost
