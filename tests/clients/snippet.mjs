// Runs code that a document shows, with one version of @stomp/stompjs; reports each console.log.
import { register } from "node:module";
import { WatchedWebSocket, config, obey, say } from "./harness.mjs";

const stompjs = new URL(`./stompjs.mjs?version=${config.stompjs}`, import.meta.url).href;
register("./hooks.mjs", import.meta.url, { data: { "@stomp/stompjs": stompjs } });
globalThis.WebSocket = WatchedWebSocket;
console.log = (value) => say("log", { value });
console.error = (...words) => say("error", { words });
await import(`data:text/javascript,${encodeURIComponent(config.code)}`);

obey({});
