// Runs the client of airyd's own pages, whose timers are faster by a factor that the test chooses.
import { StompClient, decode, encode } from "../../airyd/admin/console/stomp.js";
import { WatchedWebSocket, config, obey, say } from "./harness.mjs";

globalThis.WebSocket = WatchedWebSocket;
const { setInterval: every } = globalThis;
globalThis.setInterval = (act, wait) => every(act, wait / config.factor);

const client = new StompClient(config.url, {
  state: (name, reason) => say("state", { name, reason }),
  error: (headers) => say("error", { message: headers.message }),
});
config.destinations.forEach((destination) =>
  client.subscribe(destination, {
    message: (body, headers) => say("message", { body, destination: headers.destination }),
    live: ({ recovered }) => say("live", { destination, recovered }),
  }),
);
client.open();

obey({
  close: ({ wait }) => client.close("the test", wait),
  code: ({ command, headers }) => say("coded", { text: encode(command, headers), frame: decode(encode(command, headers)) }),
  sleep({ seconds }) {
    const { now } = Date;
    Date.now = () => now() + seconds * 1000;
  },
});
