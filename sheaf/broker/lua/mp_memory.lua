-- mp_memory.lua: reads or writes bytes that are shared, under a lock if they have one. Never blocks.
--
-- KEYS, ARGV 1, 2  as in mp_step.lua, which is put before this
--      KEYS 3      the memory; <memory>:m  string  its bytes
--      KEYS 4      its lock, as in mp_locks.lua; may be left out
-- ARGV 3  the owner, for the lock
--      4  the mode: try, wait, last (as in mp_lock.lua)
--      5  offset; 6  how many bytes;  or 5, 7  offset and bytes to write, as often as there are some
-- Returns '+' and the bytes, or '-' if the lock is another owner's

local bytes, lock = KEYS[3] .. ':m', KEYS[4]
local before = answered()
if before then
  return before
end

if lock then
  local state = lock_read(lock)
  local free = state.value + state.orphans
  if free < 1 and not (state.recursive and state.owner == ARGV[3]) then
    if ARGV[4] == 'wait' then
      await(lock .. ':w')
    else
      lock_leave(lock, free)
    end
    return '-'
  end
  lock_leave(lock, free)
end
if not ARGV[7] then
  return '+' .. redis.call('GETRANGE', bytes, ARGV[5], ARGV[5] + ARGV[6] - 1)
end
-- Not SETRANGE: no role may have it, as it makes 512 MB out of a command of some bytes.
local whole = redis.call('GET', bytes) or ''
for place = 5, #ARGV, 3 do
  local offset, written = tonumber(ARGV[place]), ARGV[place + 2]
  if offset < 0 or offset > #whole then
    return redis.error_reply('ERR what is to be written is not within the memory')
  end
  whole = whole:sub(1, offset) .. written .. whole:sub(offset + #written + 1)
end
redis.call('SET', bytes, whole, 'KEEPTTL')
return answer('+')
