-- mp_room.lua: makes room for a value that is too large to be an argument. Refused when Redis is full.
--
-- KEYS 1, 2  as in mp_step.lua, which is put before this
-- ARGV 1, 2  as there
--      3  its key, empty at first; the client fills it if it is still there, so nothing is put where the program has ended
--      4  milliseconds after which it expires, unless it is put into a queue or pipe

keep(ARGV[3])
redis.call('SET', ARGV[3], '', 'PX', ARGV[4])
return '+'
