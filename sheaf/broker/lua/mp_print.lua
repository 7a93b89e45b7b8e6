-- mp_print.lua: a worker passes on what a program's processes have printed. Refused when Redis is full.
--
-- KEYS 1  sheaf:mp:programs        zset  program -> ms at which its lease runs out
--      2  sheaf:mp:<program>:keys  set   the program's keys
--      3  sheaf:mp:<program>:out   list  what was printed
--      4  sheaf:mp:<program>:outs  hash  first: the number of the list's first entry; bytes: in the list; worker -> its last batch
-- ARGV 1  program
--      2  worker
--      3  the number of this batch of its; one that is here already, because an answer was lost, is not taken again
--      4  bytes that the list may hold
--      5  channel on which the program listens
--      6… entries
-- Returns '+', '-' if the list is full, '!' if there is no such program any more

if not redis.call('ZSCORE', KEYS[1], ARGV[1]) then
  return '!'
end
if tonumber(redis.call('HGET', KEYS[4], ARGV[2]) or 0) >= tonumber(ARGV[3]) then
  return '+'
end
if tonumber(redis.call('HGET', KEYS[4], 'bytes') or 0) >= tonumber(ARGV[4]) then
  return '-'
end
local bytes = 0
for position = 6, #ARGV do
  redis.call('RPUSH', KEYS[3], ARGV[position])
  bytes = bytes + #ARGV[position]
end
redis.call('HINCRBY', KEYS[4], 'bytes', bytes)
redis.call('HSET', KEYS[4], ARGV[2], ARGV[3])
redis.call('SADD', KEYS[2], KEYS[2], KEYS[3], KEYS[4])
redis.call('PUBLISH', ARGV[5], 'out')
return '+'
