-- The first argument selects the load: accepted, refused, get, or mixed. The script checks each answer.
-- mixed takes turns: a read, a refusal, a repeat of an accepted request.
-- Every thread has its own WorkSpaces to rebuild: ws-load<thread><number>.

local threads = 0

function setup(thread)
  thread:set("number", threads)
  threads = threads + 1
end

function init(arguments)
  kind, sent, wrong = arguments[1], 0, 0
  local expected = { accepted = { 202 }, refused = { 409 }, get = { 200 }, mixed = { 200, 202, 409 } }
  allowed = {}
  for _, status in ipairs(expected[kind]) do allowed[status] = true end
end

function request()
  sent = sent + 1
  local turn = kind
  if kind == "mixed" then turn = ({ "get", "refused", "repeated" })[sent % 3 + 1] end
  if turn == "get" then
    return wrk.format("GET", "/workspaces/ws-available0001")
  end
  local id = string.format("ws-load%02d%07d", number, turn == "repeated" and 1 or sent)
  if turn == "refused" then id = "ws-suspended0001" end
  local body = '{"RebuildWorkspaceRequests":[{"WorkspaceId":"' .. id .. '"}]}'
  local headers = { ["content-type"] = "application/json" }
  if turn == "repeated" then headers["idempotency-key"] = "repeated" end
  return wrk.format("POST", "/", headers, body)
end

function response(status)
  if not allowed[status] then
    wrong = wrong + 1
    if wrong == 1 then io.stderr:write(kind, ": wrong status ", status, "\n") end
  end
end

function done(summary, latency)
  local errors = summary.errors
  errors = errors.connect + errors.read + errors.write + errors.timeout
  if errors > 0 then io.stderr:write(errors, " connections failed\n") end
  print(string.format("| %.0f | %.2f | %.2f | %d |",
    summary.requests / summary.duration * 1e6, latency:percentile(50) / 1e3,
    latency:percentile(99) / 1e3, errors))
end
