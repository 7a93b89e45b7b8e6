-- mp_anyway.lua: put before steps that a full Redis is to let pass, after what checks that they may be taken.

-- A write that Redis never refuses: when it is full, it lets a script go on that has begun to write.
redis.call('HDEL', KEYS[2], '')
