// Runs the file that docs/clients.rst shows, a page that keeps its login, with the tokens of the test.
import { WatchedWebSocket, base64, config, obey, say } from "./harness.mjs";
import { stayLoggedIn } from "../../docs/examples/login.mjs";

const { Client } = await import(`./stompjs.mjs?version=${config.stompjs}`);
globalThis.WebSocket = WatchedWebSocket;

const client = new Client({
  brokerURL: config.url,
  reconnectDelay: 0,
  onConnect: () => {
    for (const destination of config.destinations)
      client.subscribe(
        destination,
        (message) => say("message", { destination, body: base64(message.binaryBody) }),
        { id: destination },
      );
    client.watchForReceipt("all", () => say("connected"));
    client.subscribe("/queue/channel/connected", () => {}, { receipt: "all" });
  },
  onStompError: (frame) => say("error", { headers: frame.headers, body: frame.body }),
});
stayLoggedIn(
  client,
  async () => {
    say("token asked");
    return config.tokens.shift();
  },
  (id, destination) => say("ended", { id, destination }),
);
client.activate();
obey({ disconnect: () => client.deactivate() });
