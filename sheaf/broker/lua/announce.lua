-- announce.lua: shows a worker to others: its entry, and its entry among RQ's workers, so that `rq info` lists it.
--
-- KEYS 1  sheaf:worker:<id>  hash  what the worker says of itself, and `seen_ms`
--      2  sheaf:workers      zset  worker id -> ms at which its entry expires
--      3  rq:worker:<id>     hash  RQ's entry for the worker
--      4  rq:workers         set   RQ's workers, by the key of their entry
--      5  rq:workers:sheaf   set   the same, for the queue
-- ARGV 1  worker
--      2  ms until the entry expires
--      3  how many of the following are the entry's fields and values; the rest are RQ's
--      4… fields and values
-- Returns how many workers are shown

local ttl_ms, entry_end = tonumber(ARGV[2]), 3 + tonumber(ARGV[3])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

-- DEL is a write that Redis never refuses: when Redis is full, it lets a script go on that has begun to write.
redis.call('DEL', KEYS[1], KEYS[3])
redis.call('HSET', KEYS[1], 'seen_ms', now, unpack(ARGV, 4, entry_end))
redis.call('PEXPIRE', KEYS[1], ttl_ms)
redis.call('ZADD', KEYS[2], now + ttl_ms, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now)

redis.call('HSET', KEYS[3], unpack(ARGV, entry_end + 1))
redis.call('PEXPIRE', KEYS[3], ttl_ms)
redis.call('SADD', KEYS[4], KEYS[3])
redis.call('SADD', KEYS[5], KEYS[3])
return redis.call('ZCARD', KEYS[2])
