-- Takes permits from one limit for one subject. The arithmetic is that of tollgate_policy::limit.
--
-- KEYS[1]  a hash: the length of a slot under "length", and a count under each slot's number
-- ARGV     1 need      permits that requests are waiting for
--          2 want      permits to take beyond that, ahead of requests; at least `need`
--          3 fewest    fewer than this are not worth taking; `need` where it is all or none
--          4 divisor   what is taken ahead is at most what is left divided by this
--          5 limit
--          6 length    of a slot, in microseconds
--          7 back      slots before the current one that count
--          8 now       microseconds since 1970-01-01; empty: this server's own time
--          9… pairs of slot and count: permits that were taken and not used
-- Returns  granted, left, microseconds until permits come back, slot, microseconds until its end
local need, want, fewest = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local divisor, limit = tonumber(ARGV[4]), tonumber(ARGV[5])
local length, back, now = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
if not now then
  local time = redis.call('TIME')
  now = tonumber(time[1]) * 1000000 + tonumber(time[2])
end
local current = (now - now % length) / length

local function text(number) return string.format('%.0f', number) end

local counts, stored = {}, nil
local fields = redis.call('HGETALL', KEYS[1])
for i = 1, #fields, 2 do
  if fields[i] == 'length' then
    stored = tonumber(fields[i + 1])
  else
    counts[tonumber(fields[i])] = tonumber(fields[i + 1])
  end
end

-- The window was edited: a count moves to the new slot of its old slot's end, so that it stays at least as long.
if stored and stored ~= length then
  redis.call('DEL', KEYS[1])
  local moved = {}
  for slot, count in pairs(counts) do
    local last = (slot + 1) * stored - 1
    local to = math.min((last - last % length) / length, current)
    moved[to] = (moved[to] or 0) + count
  end
  for slot, count in pairs(moved) do redis.call('HSET', KEYS[1], text(slot), text(count)) end
  counts, stored = moved, nil
end

for i = 9, #ARGV, 2 do
  local slot, unused = tonumber(ARGV[i]), tonumber(ARGV[i + 1])
  if counts[slot] then
    counts[slot] = math.max(0, counts[slot] - unused)
    redis.call('HSET', KEYS[1], ARGV[i], text(counts[slot]))
  end
end

local used, newest, slots = 0, current, {}
for slot, count in pairs(counts) do
  if slot < current - back then
    redis.call('HDEL', KEYS[1], text(slot))
  else
    used = used + count
    slots[#slots + 1] = slot
    -- A clock that steps back (another server took over) counts into the newest slot: late, never lost.
    if slot > newest then newest = slot end
  end
end
table.sort(slots)

local left = math.max(0, limit - used)
local granted = math.min(left, math.max(need, math.min(want, math.floor(left / divisor))))
if granted < fewest then granted = 0 end
if granted > 0 then
  if not counts[newest] then slots[#slots + 1] = newest end
  counts[newest] = (counts[newest] or 0) + granted
  redis.call('HSET', KEYS[1], 'length', text(length), text(newest), text(counts[newest]))
  redis.call('PEXPIRE', KEYS[1], text(math.ceil(length * (back + 2) / 1000)))
elseif not stored and next(counts) then
  redis.call('HSET', KEYS[1], 'length', text(length))
  redis.call('PEXPIRE', KEYS[1], text(math.ceil(length * (back + 2) / 1000)))
end

-- After a refusal: until as much as was asked for can be had; else until the oldest permits come back.
local sum, ask, bound = used + granted, 1, used + granted
if granted < need then ask, bound = math.max(1, fewest), limit end
local reset = length * 32
for _, slot in ipairs(slots) do
  sum = sum - counts[slot]
  if sum + ask <= bound then
    reset = math.max(0, (slot + back + 1) * length - now)
    break
  end
end
return { granted, limit - used - granted, reset, newest, math.max(0, (current + 1) * length - now) }
