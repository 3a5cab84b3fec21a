// A client like Airy's since release 0.10: one subscription, to /events, whose events have a type. Since 0.19 it
// sends no token. It knows the types of 0.41 to 0.56 and the earlier ones.
import { WatchedWebSocket, base64, config, obey, say } from "./harness.mjs";

const { Client } = await import(`./stompjs.mjs?version=${config.stompjs}`);
globalThis.WebSocket = WatchedWebSocket;

const KNOWN = ["message", "message.created", "message.updated", "channel", "channel.updated", "metadata",
  "metadata.updated", "tag", "tag.updated", "component.updated"];
let subscription;

const client = new Client({
  brokerURL: config.url,
  connectHeaders: config.token ? { Authorization: `Bearer ${config.token}` } : {},
  reconnectDelay: 2000,
  onConnect: () => {
    say("connected");
    client.watchForReceipt("live", () => say("live"));
    const onEvent = (message) => {
      const { type, payload } = JSON.parse(message.body);
      const body = base64(message.binaryBody);
      say(KNOWN.includes(type) ? "message" : "unknown", { type, payload, body, headers: message.headers });
    };
    subscription = client.subscribe("/events", onEvent, { receipt: "live" });
  },
  onDisconnect: () => say("disconnected"),
  onStompError: (frame) => {
    say("error", { headers: frame.headers, body: frame.body });
    if (frame.headers.message.includes("401")) say("logout");
  },
});

obey({
  disconnect() {
    client.deactivate();
    subscription.unsubscribe();
  },
});

client.activate();
