-- mp_process.lua: whose end it is; put before mp_ended.lua and what that needs.

local PREFIX = string.sub(KEYS[2], 1, -#'clients' - 1)
local PROCESS = ARGV[1]
local WAITER = PROCESS
