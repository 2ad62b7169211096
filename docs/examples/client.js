#!/usr/bin/env node
// Sends a message and prints what happens, one JSON object a line: `node client.js bob hello`. Needs @msgpack/msgpack from npm.
//
// CHATD_SOCKET names the socket; CHATD_TOKEN may hold a token (chatctl token create --name node --allow read,send).

const net = require("node:net");
const { encode, decodeMultiStream } = require("@msgpack/msgpack");

class Chat {
  constructor(path) {
    this.socket = net.connect(path);
    this.waiting = new Map();
    this.number = 0;
    this.onEvent = () => {};
    this.ended = this.#read();
  }

  // Messages come whole, in whatever pieces the socket hands them over.
  async #read() {
    try {
      for await (const [kind, ...rest] of decodeMultiStream(this.socket)) {
        if (kind === 2) {
          this.onEvent(rest[1][0]);
          continue;
        }
        const [number, error, result] = rest;
        const { resolve, reject } = this.waiting.get(number);
        this.waiting.delete(number);
        error === null ? resolve(result) : reject(Object.assign(new Error(error[1]), { code: error[0] }));
      }
    } finally {
      const gone = new Error("the daemon has closed the connection");
      this.waiting.forEach(({ reject }) => reject(gone));
    }
  }

  // One call; many may be under way.
  call(method, params = {}) {
    this.number += 1;
    const answer = new Promise((resolve, reject) => this.waiting.set(this.number, { resolve, reject }));
    this.socket.write(encode([0, this.number, method, [params]]));
    return answer;
  }
}

async function main([to, body]) {
  const chat = new Chat(process.env.CHATD_SOCKET ?? "/run/chatd/chatd.sock");
  chat.onEvent = (event) => console.log(JSON.stringify(event));
  if (process.env.CHATD_TOKEN) {
    await chat.call("system.hello", { client: "client.js", token: process.env.CHATD_TOKEN });
  }
  // First, so that nothing is missed.
  await chat.call("feed.subscribe", { types: ["message.received", "message.state"] });
  await chat.call("message.send", { to, body });
  await chat.ended;
  throw new Error("the daemon has closed the connection");
}

main(process.argv.slice(2)).catch((error) => {
  console.error(error.code === undefined ? error.message : `${error.code}: ${error.message}`);
  process.exit(1);
});
