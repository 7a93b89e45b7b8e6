-- lines.lua: what claim.lua, put_back.lua, finish.lua and renew.lua share; it is put before them.
--
-- RQ's list is the truth about what is queued. Beside it each party (a run, or all runs of a program's session) has a line,
-- made of that list by claim.lua: what is at its end and in no line is sorted in, and when a line names what is not on the
-- list, all lines are rebuilt. So code that puts something on the list, or takes something off it, need know nothing of lines.
--
--   sheaf:line:<party>  list    ids of its queued jobs, in their order
--   sheaf:turns         zset    party that has a line -> when something was last claimed of it, by count of claims
--   sheaf:lined         string  how many ids are in lines; gone when there are none

local function line_of(id)
  local run = string.match(id, '^(.*)_') or id
  local party = string.match(run, '^(session%-.*)%-') or run
  return 'sheaf:line:' .. party, party
end

local function note_lined(key, count)
  if count > 0 then
    redis.call('SET', key, count)
  else
    redis.call('DEL', key)
  end
end

-- Take a job off the list, wherever and however often it is there.
local function take_off(list, lined, id)
  if redis.call('LREM', list, 0, id) > 0 then
    local removed, count = redis.pcall('LREM', line_of(id), 0, id), redis.pcall('GET', lined)
    if type(removed) == 'number' and type(count) == 'string' then
      note_lined(lined, (tonumber(count) or 0) - removed)
    end
  end
end

-- Whether an id has the form that ours have; anybody may have written others.
local function is_batch(id)
  local run, number = string.match(id, '^([%w%-]+)_(%d+)$')
  return run and #id <= 200 and #number <= 15 and (number == '0' or string.sub(number, 1, 1) ~= '0')
    and not string.find('-' .. run .. '-', '--', 1, true)
end
