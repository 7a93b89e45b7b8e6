-- mp_lease.lua: a program begins, goes on, ends, or is found to have ended.
--
-- KEYS 1  sheaf:mp:programs  zset  program -> when its lease ends (ms, Redis's clock)
-- ARGV 1  what to do:
--         begin, renew  the program in 2, for 3 ms from now. Returns 1; 0 if it is not there any more
--         end           the program in 2: remove all that it has
--         sweep         the same for programs whose lease is over, at most 2 of them. Returns their names

-- A write that Redis never refuses: when it is full, it lets a script go on that has begun to write.
redis.call('ZREM', KEYS[1], '')

local what = ARGV[1]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

-- What each program has beside the keys in its list of keys.
local OWN = {'clients', 'ended', 'keys', 'processes', 'out'}

local function remove(program)
  local prefix = 'sheaf:mp:' .. program .. ':'
  local names = redis.call('SMEMBERS', prefix .. 'keys')
  for _, own in ipairs(OWN) do
    names[#names + 1] = prefix .. own
  end
  for from = 1, #names, 1000 do
    redis.call('UNLINK', unpack(names, from, math.min(from + 999, #names)))
  end
  redis.call('ZREM', KEYS[1], program)
  redis.call('PUBLISH', prefix .. 'wake', 'ended')
end

if what == 'begin' or (what == 'renew' and redis.call('ZSCORE', KEYS[1], ARGV[2])) then
  redis.call('ZADD', KEYS[1], string.format('%.0f', now + ARGV[3]), ARGV[2])
  return 1
elseif what == 'renew' then
  return 0
elseif what == 'end' then
  remove(ARGV[2])
  return 1
end
local over = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now), 'LIMIT', 0, ARGV[2])
for _, program in ipairs(over) do
  remove(program)
end
return over
