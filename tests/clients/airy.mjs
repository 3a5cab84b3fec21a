// A client like Airy's up to release 0.9: its settings, four subscriptions, logout on 401, and way of disconnecting.
import { WatchedWebSocket, base64, config, obey, say, transacting } from "./harness.mjs";

const { Client, Versions } = await import(`./stompjs.mjs?version=${config.stompjs}`);
globalThis.WebSocket = WatchedWebSocket;

let subscriptions = [];
const messages = new Map();

function onMessage(message) {
  messages.set(message.headers["message-id"], message);
  say("message", {
    headers: message.headers,
    body: base64(message.binaryBody),
    text: base64(new TextEncoder().encode(message.body)),
  });
}

function subscribe(destination, headers = {}) {
  const receipt = `subscribed-${destination}`;
  client.watchForReceipt(receipt, (frame) => say("receipt", { name: receipt, headers: frame.headers }));
  subscriptions.push(client.subscribe(destination, onMessage, { ...headers, receipt }));
}

const client = new Client({
  brokerURL: config.url,
  connectHeaders: { Authorization: `Bearer ${config.token ?? "e30.e30.c2lnbmF0dXJl"}` },
  stompVersions: new Versions(config.versions ?? ["1.0", "1.1", "1.2"]),
  reconnectDelay: config.reconnectDelay ?? 2000,
  heartbeatIncoming: config.heartbeat ?? 30000,
  heartbeatOutgoing: config.heartbeat ?? 30000,
  splitLargeFrames: config.splitLargeFrames ?? false,
  onConnect: (frame) => {
    subscriptions = [];
    say("connected", { headers: frame.headers });
    for (const destination of config.destinations) subscribe(destination, config.subscribeHeaders);
  },
  onDisconnect: () => say("disconnected"),
  onStompError: (frame) => {
    say("error", { headers: frame.headers, body: frame.body });
    if (frame.headers.message.includes("401")) say("logout");
  },
  onUnhandledMessage: (frame) => say("unhandled", { command: frame.command, headers: frame.headers }),
  onUnhandledReceipt: (frame) => say("unhandled", { command: frame.command, headers: frame.headers }),
  onUnhandledFrame: (frame) => say("unhandled", { command: frame.command, headers: frame.headers }),
});

const { handlers, within } = transacting(client, messages);

obey({
  subscribe: ({ destination, headers }) => subscribe(destination, headers),
  send({ destination, body, headers = {}, receipt }) {
    if (receipt) {
      client.watchForReceipt(receipt, (frame) => say("receipt", { name: receipt, headers: frame.headers }));
      headers.receipt = receipt;
    }
    client.publish({ destination, body: Buffer.from(body, "base64").toString(), headers: within(headers) });
  },
  ...handlers,
  disconnect() {
    client.deactivate();
    subscriptions.forEach((subscription) => subscription.unsubscribe());
  },
});

client.activate();
