// STOMP 1.2 over WebSocket: airyd sends one frame in each message, or a line feed as a heart-beat.
const ESCAPES = { "\\": "\\\\", "\r": "\\r", "\n": "\\n", ":": "\\c", "\\\\": "\\", "\\r": "\r", "\\n": "\n", "\\c": ":" };
const BEAT = 10_000; // milliseconds between heart-beats; the server may want fewer
const escape = (text) => String(text).replace(/[\\\r\n:]/g, (each) => ESCAPES[each]);
const unescape = (text) => text.replace(/\\[\\rnc]/g, (each) => ESCAPES[each]);
export function encode(command, headers) {
  return [command, ...Object.entries(headers).map((pair) => pair.map(escape).join(":")), "", "\0"].join("\n");
}
export function decode(text) {
  const end = text.indexOf("\n\n");
  const [command, ...lines] = text.slice(0, end).split("\n");
  const pairs = lines.reverse().map((line) => line.split(/:(.*)/s, 2).map(unescape)); // of equal names the first counts
  return { command, headers: Object.fromEntries(pairs), body: text.slice(end + 2, text.lastIndexOf("\0")) };
}
/** Connects again by itself, and resumes each subscription after its last event. `on` may have the functions
 * state("connecting" | "connected" | "lost", reason, wait), frame(text, isOurs) and error(headers, body). */
export class StompClient {
  #socket; #heard; #timers = []; #failures = 0; subscriptions = [];
  constructor(url, on) { Object.assign(this, { url, on }); }
  /** message(body, headers) gets each event; live(headers) the RECEIPT of each connection. */
  subscribe(destination, { message, live, position }) { this.subscriptions.push({ destination, message, live, position }); }
  open() {
    this.#timers.splice(0).forEach(clearTimeout);
    this.on.state?.("connecting");
    this.#socket = new WebSocket(this.url);
    this.#socket.onopen = () => this.#write(encode("CONNECT", { "accept-version": "1.2", "heart-beat": `${BEAT},${BEAT}` }));
    this.#socket.onmessage = ({ data }) => this.#receive(data);
    this.#socket.onclose = ({ code, reason }) => this.close(reason || `code ${code}`);
  }
  /** Drop the connection, and connect again after so many milliseconds. */
  close(reason, wait = Math.min(1000 * 2 ** this.#failures++, 15_000) * (0.5 + Math.random() / 2)) {
    this.#timers.splice(0).forEach(clearTimeout);
    this.#socket.onopen = this.#socket.onmessage = this.#socket.onclose = null;
    this.#socket.close();
    this.#timers.push(setTimeout(() => this.open(), wait));
    this.on.state?.("lost", reason, wait);
  }
  #write(text) { this.#socket.send(text); this.on.frame?.(text, true); }
  #receive(text) {
    this.#heard = Date.now();
    this.on.frame?.(text, false);
    const { command, headers, body } = decode(text);
    const subscription = this.subscriptions[headers.subscription ?? headers["receipt-id"]];
    if (command === "CONNECTED") this.#begin(...headers["heart-beat"].split(",").map(Number));
    if (command === "ERROR") this.on.error?.(headers, body);
    if (command === "MESSAGE") subscription.message(body, headers);
    if (command === "RECEIPT") subscription.live?.(headers);
    const position = headers["message-id"] ?? headers["last-message-id"]; // of MESSAGE, or of RECEIPT
    if (position) subscription.position = position;
  }
  #begin(theirs, wanted) {
    const look = () => Date.now() - this.#heard > 2 * Math.max(BEAT, theirs) && this.close("no heart-beat in time", 0);
    if (theirs) this.#timers.push(setInterval(look, BEAT));
    if (wanted) this.#timers.push(setInterval(() => this.#write("\n"), Math.max(BEAT, wanted)));
    this.#failures = 0;
    this.on.state?.("connected");
    this.subscriptions.forEach(({ destination, position }, id) =>
      this.#write(encode("SUBSCRIBE", { id, destination, receipt: id, ...(position && { "last-message-id": position }) })));
  }
}
