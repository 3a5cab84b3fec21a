// Runs the files that docs/clients.rst shows, with the version of @stomp/stompjs that the test chooses.
import { register } from "node:module";
import { WatchedWebSocket, base64, config, obey, say } from "./harness.mjs";

const stompjs = new URL(`./stompjs.mjs?version=${config.stompjs}`, import.meta.url).href;
register("./hooks.mjs", import.meta.url, { data: { "@stomp/stompjs": stompjs } });
globalThis.WebSocket = WatchedWebSocket;
const { follow } = await import("../../docs/examples/resume.mjs");
const { heed } = await import("../../docs/examples/status.mjs");

const reload = (destination) => say("reload", { destination });
const client = follow(
  config.url,
  config.destinations,
  (destination, body) => say("message", { destination, body: base64(new TextEncoder().encode(body)) }),
  reload,
);
if (config.heeds) heed(client, (state) => say("state", { state }), reload);
client.reconnectDelay = config.reconnectDelay ?? client.reconnectDelay;
client.onDisconnect = () => say("disconnected");
client.activate();

obey({ disconnect: () => client.deactivate() });
