-- mp_entry.lua: a program's process as its entry says; it is put before the steps that change one.
--
-- The entry is JSON in a program's hash sheaf:mp:<program>:processes: name, parent, state, worker, pid, exitcode.

-- The entry, or nil if there is none or it is nothing of the kind.
local function process_entry(key, process)
  local text = redis.pcall('HGET', key, process)
  local known, entry = pcall(cjson.decode, type(text) == 'string' and text or '')
  return known and type(entry) == 'table' and entry or nil
end

local function keep_entry(key, process, entry)
  redis.call('HSET', key, process, cjson.encode(entry))
end
