-- snapshot.lua: what is queued and what is leased, at one moment. Reads only.
--
-- A script, because MULTI is refused when Redis is full, and two separate reads could both miss a batch that moves between them.
--
-- The keys' names are arguments: those declared as KEYS must be writable for the user who runs the script, and a user who
-- only looks on has no right to write.
--
-- ARGV 1  rq:queue:sheaf  list  ids of queued jobs
--      2  sheaf:leases    zset  batch id -> ms at which its lease runs out
--      3  sheaf:owners    hash  batch id -> worker
-- Returns {queued ids, leases (id, ms, id, ms, …), owners (id, worker, …), now in ms}

local time = redis.call('TIME')
return {
  redis.call('LRANGE', ARGV[1], 0, -1),
  redis.call('ZRANGE', ARGV[2], 0, -1, 'WITHSCORES'),
  redis.call('HGETALL', ARGV[3]),
  time[1] * 1000 + math.floor(time[2] / 1000),
}
