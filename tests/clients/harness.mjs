// Shared by the client programs: they read commands as JSON lines from standard input, and write events as JSON
// lines to standard output.
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import WebSocket from "ws";

export const config = JSON.parse(process.argv[2]);

export function say(event, fields = {}) {
  process.stdout.write(JSON.stringify({ event, ...fields }) + "\n");
}

/** Calls, for each line, the handler that its "do" names; the program ends when the input ends. */
export function obey(handlers) {
  createInterface({ input: process.stdin })
    .on("line", (line) => {
      const { do: name, ...fields } = JSON.parse(line);
      handlers[name](fields);
    })
    .on("close", () => process.exit(0));
}

/** A WebSocket that reports each heart-beat, in either direction, and its close. */
export class WatchedWebSocket extends WebSocket {
  constructor(url, protocols) {
    super(url, protocols, {
      ...(config.origin && { origin: config.origin }),
      ...(config.ca && { ca: readFileSync(config.ca) }),
      ...(config.alpn && { ALPNProtocols: config.alpn }),
    });
    this.on("open", () => say("open", { subprotocol: this.protocol, extensions: this.extensions }));
    this.on("message", (data, isBinary) => {
      if (!isBinary && data.length === 1 && data[0] === 10) say("beat", { way: "in" });
    });
    this.on("error", (error) => say("trouble", { message: error.message }));
    this.on("close", (code, reason) => say("closed", { code, reason: reason.toString() }));
  }

  send(data, ...rest) {
    if (data === "\n") say("beat", { way: "out" });
    return super.send(data, ...rest);
  }
}

/**
 * Handlers for obey() that clients of both libraries use for messages and transactions, and a function that adds the
 * header of the open transaction.
 *
 * @param messages the received messages, by message-id
 */
export function transacting(client, messages) {
  let transaction;
  const end = (how) => () => {
    transaction[how]();
    transaction = undefined;
  };
  const handlers = {
    ack: ({ id }) => messages.get(id).ack(),
    nack: ({ id }) => messages.get(id).nack(),
    begin() {
      transaction = client.begin();
    },
    commit: end("commit"),
    abort: end("abort"),
  };
  return { handlers, within: (headers) => ({ ...headers, ...(transaction && { transaction: transaction.id }) }) };
}

export function base64(bytes) {
  return Buffer.from(bytes).toString("base64");
}
