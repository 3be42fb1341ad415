-- Many display filters in one reading of tshark's: a listener for each line of $FILTERS, which writes the filter's
-- number and the packet's to $CHOSEN; a filter that is refused has what is said of it in place of packets.

local filters, chosen = io.open(os.getenv("FILTERS")), io.open(os.getenv("CHOSEN"), "w")
local number = 0
for line in filters:lines() do
  number = number + 1
  local mine = number
  local is_taken, listener = pcall(Listener.new, "frame", line ~= "" and line or nil)
  if is_taken then
    function listener.packet(packet) chosen:write(mine, "\t", packet.number, "\n") end
  else
    chosen:write(mine, "\t!", tostring(listener):gsub("%s+", " "), "\n")
  end
end
