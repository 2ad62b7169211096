-- chatd in Neovim (0.7 or newer), with nothing but what Neovim brings.
--
--     :lua chat = dofile("chat.lua")
--     :lua print(chat.call("message.send", { to = "bob", body = "hello from an editor" }).id)
--     :lua chat.follow({ types = { "message.received" } }, function(event) print(event.who, event.message.body) end)
--
-- CHATD_SOCKET names the socket; CHATD_TOKEN may hold a token (chatctl token create --name editor --allow read,send).
--
-- Neovim's own channel, `sockconnect("pipe", socket, { rpc = true })` and `rpcrequest`, can ask as well; but it takes notifications
-- for calls of its own API, and shows "unknown error" for every error that does not look like one of its own.

local M = {}
local socket = vim.env.CHATD_SOCKET or "/run/chatd/chatd.sock"
local token = vim.env.CHATD_TOKEN
local connection

local function open()
  local pipe = vim.loop.new_pipe(false)
  local session = vim.mpack.Session({ unpack = vim.mpack.Unpacker() })
  local self = { pipe = pipe, session = session }
  local function finish(why)
    self.ended = why
    pipe:close()
    vim.schedule(function()
      if self.on_end then
        self.on_end(why)
      end
    end)
  end
  local function receive(failed, chunk)
    if failed or not chunk then
      return finish(failed or "the daemon has closed the connection")
    end
    local at = 1
    while at <= #chunk do
      local kind, answer, what, value
      kind, answer, what, value, at = session:receive(chunk, at)
      if kind == "response" then
        answer.failed, answer.result, answer.done = what, value, true
      elseif kind == "notification" and self.on_event then
        vim.schedule(function()
          self.on_event(value[1])
        end)
      end
    end
  end
  pipe:connect(socket, function(failed)
    if failed then
      return finish(socket .. ": " .. failed)
    end
    self.ready = true
    pipe:read_start(receive)
  end)
  vim.wait(5000, function()
    return self.ready or self.ended
  end, 5)
  return self
end

-- One call and its result; an error if the daemon says no, with its code and its words.
function M.call(method, params)
  if not connection or connection.ended then
    connection = open()
    if token then
      M.call("system.hello", { client = "chat.lua", token = token })
    end
  end
  if connection.ended then
    error(connection.ended, 0)
  end
  local answer = {}
  local head = connection.session:request(answer)
  connection.pipe:write(head .. vim.mpack.encode(method) .. vim.mpack.encode({ params }))
  vim.wait(30000, function()
    return answer.done or connection.ended
  end, 5)
  if not answer.done then
    error(connection.ended or "no answer within 30 s", 0)
  end
  if answer.failed and answer.failed ~= vim.NIL then
    error(answer.failed[1] .. ": " .. answer.failed[2], 0)
  end
  return answer.result
end

-- From now on, `on_event` is called for each event that `feed.subscribe` tells of, and `on_end` when there will be none.
function M.follow(params, on_event, on_end)
  local subscribed = M.call("feed.subscribe", params)
  connection.on_event, connection.on_end = on_event, on_end
  return subscribed
end

return M
