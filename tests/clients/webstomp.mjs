// A client with webstomp-client that takes the same commands as airy.mjs.
import webstomp from "webstomp-client";
import { WatchedWebSocket, base64, config, obey, say, transacting } from "./harness.mjs";

const protocols = (config.versions ?? ["1.0", "1.1", "1.2"]).map((version) => `v${version.replace(".", "")}.stomp`);
const socket = new WatchedWebSocket(config.url, protocols);
const heartbeat = { incoming: config.heartbeat ?? 30000, outgoing: config.heartbeat ?? 30000 };
const client = webstomp.over(socket, { debug: false, heartbeat, binary: config.binary ?? false, protocols });

let subscriptions = [];
const messages = new Map();

function onMessage(message) {
  messages.set(message.headers["message-id"], message);
  const bytes = base64(new TextEncoder().encode(message.body));
  say("message", { headers: message.headers, body: bytes, text: bytes });
}

function subscribe(destination, headers = {}) {
  const number = subscriptions.length;
  const all = { ...headers, id: `sub-${number}`, receipt: `subscribed-${destination}` };
  subscriptions.push(client.subscribe(destination, onMessage, all));
}

client.onreceipt = (frame) => say("receipt", { name: frame.headers["receipt-id"], headers: frame.headers });

client.connect(
  { Authorization: "Bearer e30.e30.c2lnbmF0dXJl" },
  (frame) => {
    say("connected", { headers: frame.headers });
    for (const destination of config.destinations) subscribe(destination, config.subscribeHeaders);
  },
  (problem) => {
    if (problem.command === "ERROR") say("error", { headers: problem.headers, body: problem.body });
  },
);

const { handlers, within } = transacting(client, messages);

obey({
  subscribe: ({ destination, headers }) => subscribe(destination, headers),
  send({ destination, body, headers = {}, receipt }) {
    if (receipt) headers.receipt = receipt;
    client.send(destination, Buffer.from(body, "base64").toString(), within(headers));
  },
  ...handlers,
  disconnect() {
    subscriptions.forEach((subscription) => subscription.unsubscribe());
    client.disconnect(() => say("disconnected"), { receipt: "bye" });
  },
});
