-- Takes permits from one limit for one subject. The arithmetic is that of tollgate_policy::limit.
--
-- KEYS[1]  a hash: a count under each slot's number, and what these mean: the length of a slot under "length",
--          or, for a window of the calendar, its end under "until"; its one slot is numbered by its beginning
-- ARGV     1 need      permits that requests are waiting for
--          2 want      permits to take beyond that, ahead of requests; at least `need`
--          3 fewest    fewer than this are not worth taking; `need` where it is all or none
--          4 divisor   what is taken ahead is at most what is left divided by this
--          5 limit
--          6 length    of a slot, in microseconds; 0 for windows of the calendar
--          7 back      slots before the current one that count
--          8 now       microseconds since 1970-01-01; empty: this server's own time
--          of windows of the calendar alone: 9 to 11, where three in a row begin; 12, where the last ends;
--          13, the node's time
--          … pairs of slot and count: permits that were taken and not used; below 0, those that are charged, whatever
--          the limit: for the slot, or where that has left the window, for now
-- Returns  granted, left, microseconds until permits come back, slot, microseconds until its end
local need, want, fewest = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local divisor, limit = tonumber(ARGV[4]), tonumber(ARGV[5])
local length, back, now = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
if not now then
  local time = redis.call('TIME')
  now = tonumber(time[1]) * 1000000 + tonumber(time[2])
end

local function text(number) return string.format('%.0f', number) end

local counts, stored, ended = {}, nil, nil
local fields = redis.call('HGETALL', KEYS[1])
for i = 1, #fields, 2 do
  if fields[i] == 'length' then
    stored = tonumber(fields[i + 1])
  elseif fields[i] == 'until' then
    ended = tonumber(fields[i + 1])
  else
    counts[tonumber(fields[i])] = tonumber(fields[i + 1])
  end
end

local function last(slot) return ended and ended - 1 or (slot + 1) * stored - 1 end

-- The slot that is counted in now, where it ends, and what becomes of slots that mean something else.
local current, finish, moved
local pairs_from = 9
if length > 0 then
  current = (now - now % length) / length
  finish = (current + 1) * length
  -- The window was edited: a count moves to the new slot of its old slot's end, so that it stays at least as long.
  if ended or (stored and stored ~= length) then
    moved = {}
    for slot, count in pairs(counts) do
      local moment = last(slot)
      local to = math.min((moment - moment % length) / length, current)
      moved[to] = (moved[to] or 0) + count
    end
  end
else
  pairs_from = 14
  local bounds = { tonumber(ARGV[9]), tonumber(ARGV[10]), tonumber(ARGV[11]), tonumber(ARGV[12]) }
  if now < bounds[1] or now >= bounds[4] then now = tonumber(ARGV[13]) end
  for i = 1, 3 do
    if now >= bounds[i] then current, finish = bounds[i], bounds[i + 1] end
  end
  local slot = ended and next(counts)
  if slot and slot > now then
    -- A clock that steps back (another server took over) counts into the newest window: late, never lost.
    current, finish = slot, ended
  elseif (slot and (slot ~= current or ended ~= finish)) or stored then
    -- Another window: what ended before it is over.
    moved = {}
    for slot, count in pairs(counts) do
      if last(slot) >= current then moved[current] = (moved[current] or 0) + count end
    end
  end
end

if moved then
  redis.call('DEL', KEYS[1])
  for slot, count in pairs(moved) do redis.call('HSET', KEYS[1], text(slot), text(count)) end
  counts, stored, ended = moved, nil, nil
end

local charged = 0
for i = pairs_from, #ARGV, 2 do
  local slot, unused = tonumber(ARGV[i]), tonumber(ARGV[i + 1])
  if counts[slot] and (length == 0 or slot >= current - back) then
    counts[slot] = math.max(0, counts[slot] - unused)
    redis.call('HSET', KEYS[1], ARGV[i], text(counts[slot]))
  elseif unused < 0 then
    charged = charged - unused
  end
end

local used, newest, slots = 0, current, {}
for slot, count in pairs(counts) do
  if slot < current - back then
    redis.call('HDEL', KEYS[1], text(slot))
  else
    used = used + count
    slots[#slots + 1] = slot
    -- A clock that steps back counts into the newest slot.
    if slot > newest then newest = slot end
  end
end
table.sort(slots)

if charged > 0 then
  if not counts[newest] then slots[#slots + 1] = newest end
  counts[newest] = (counts[newest] or 0) + charged
  used = used + charged
  redis.call('HSET', KEYS[1], text(newest), text(counts[newest]))
end

local left = math.max(0, limit - used)
local granted = math.min(left, math.max(need, math.min(want, math.floor(left / divisor))))
if granted < fewest then granted = 0 end
if granted > 0 then
  if not counts[newest] then slots[#slots + 1] = newest end
  counts[newest] = (counts[newest] or 0) + granted
  redis.call('HSET', KEYS[1], text(newest), text(counts[newest]))
end
if granted > 0 or charged > 0 or (next(counts) and not stored and not ended) then
  if length > 0 then
    redis.call('HSET', KEYS[1], 'length', text(length))
    redis.call('PEXPIRE', KEYS[1], text(math.ceil(length * (back + 2) / 1000)))
  else
    redis.call('HSET', KEYS[1], 'until', text(finish))
    redis.call('PEXPIRE', KEYS[1], text(math.ceil((finish - now) / 1000) + 1000))
  end
end

local reset
if length > 0 then
  -- After a refusal: until as much as was asked for can be had; else until the oldest permits come back.
  local sum, ask, bound = used + granted, 1, used + granted
  if granted < need then ask, bound = math.max(1, fewest), limit end
  reset = length * 32
  for _, slot in ipairs(slots) do
    sum = sum - counts[slot]
    if sum + ask <= bound then
      reset = math.max(0, (slot + back + 1) * length - now)
      break
    end
  end
else
  reset = finish - now
end
return { granted, limit - used - granted, reset, newest, math.max(0, finish - now) }
