-- The first argument selects the load: accepted, refused, or get. The script checks each answer.
-- Every thread has its own WorkSpaces to rebuild: ws-load<thread><number>.

local threads = 0

function setup(thread)
  thread:set("number", threads)
  threads = threads + 1
end

function init(arguments)
  kind, sent, wrong = arguments[1], 0, 0
  expected = ({ accepted = 202, refused = 409, get = 200 })[kind]
end

function request()
  sent = sent + 1
  if kind == "get" then
    return wrk.format("GET", "/workspaces/ws-available0001")
  end
  local id = kind == "refused" and "ws-suspended0001" or string.format("ws-load%02d%07d", number, sent)
  local body = '{"RebuildWorkspaceRequests":[{"WorkspaceId":"' .. id .. '"}]}'
  return wrk.format("POST", "/", { ["content-type"] = "application/json" }, body)
end

function response(status)
  if status ~= expected then
    wrong = wrong + 1
    if wrong == 1 then io.stderr:write("status ", status, " instead of ", expected, "\n") end
  end
end

function done(summary, latency)
  local errors = summary.errors
  print(string.format("| %.0f | %.2f | %.2f | %d |",
    summary.requests / summary.duration * 1e6, latency:percentile(50) / 1e3,
    latency:percentile(99) / 1e3, errors.connect + errors.read + errors.write + errors.timeout))
end
