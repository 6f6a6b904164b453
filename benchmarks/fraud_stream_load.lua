-- wrk counts answers that are no success by itself: a response() here would cost it half of its time.
-- Each request takes the next lines of a file of events (NDJSON), once: wrk -s fraud_stream_load.lua URL -- FILE ROWS
local bodies, next_body, path = {}, 0, nil

function init(args)
  local size = tonumber(args[2])
  local lines = {}
  for line in io.lines(args[1]) do
    lines[#lines + 1] = line
    if #lines == size then
      bodies[#bodies + 1] = table.concat(lines, "\n")
      lines = {}
    end
  end
  wrk.method = "POST"
  wrk.headers["content-type"] = size == 1 and "application/json" or "application/x-ndjson"
end

function request()
  next_body = next_body + 1
  if next_body > #bodies then
    if next_body == #bodies + 1 then  -- wrk divides by the whole time: a rate without rows is none
      io.stderr:write("the file has no more rows: a shorter time\n")
    end
    wrk.thread:stop()
    return wrk.format(nil, nil, nil, bodies[#bodies])
  end
  return wrk.format(nil, nil, nil, bodies[next_body])
end
