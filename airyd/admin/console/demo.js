// An inbox as Airy's, of a sample: source. All that comes from airyd becomes text, never HTML.
import { StompClient, decode } from "./stomp.js";

const AWAY = 8000; // milliseconds without a connection after the button
const LOADED = 500; // events of each destination to begin with
const KEPT = 100; // frames
const page = Object.fromEntries([...document.querySelectorAll("[id]")].map((each) => [each.id, each]));
const [conversations, channels] = [new Map(), new Map()];
const past = new Set(); // message-ids of the history, where the destinations of channels have no common order
let [client, chosen, frames, turn] = [null, null, [], null];
let away; // the last time without a connection; came and missed are message-ids

const time = (date) => (date ? new Date(date).toLocaleTimeString() : "");
const nameOf = (id) => channels.get(id)?.name ?? `Channel ${String(id).slice(0, 8)}`;
const titleOf = ({ id, channel }) => `${nameOf(channel)} · ${id.slice(0, 4)}`;
const textOf = (message) => message?.content?.text ?? "(no text)";
const get = (path) => fetch(path).then((response) => response.json());

function conversation(id) {
  if (!conversations.has(id)) conversations.set(id, { id, messages: new Map(), at: "", counted: "", unread: 0 });
  return conversations.get(id);
}
function setChannel(isOn, channel, event) {
  const known = channels.get(channel.id)?.isOn ?? isOn;
  channels.set(channel.id, { ...channel, isOn: past.has(event) && known !== isOn ? null : isOn }); // null: not known
}
const HANDLERS = {
  "/queue/message"({ conversation_id: id, channel_id: channel, message }, event) {
    const found = conversation(id);
    found.messages.set(message.id, { ...message, event });
    Object.assign(found, { channel, last: message, at: message.sent_at ?? found.at });
    const isNew = message.sender_type === "SOURCE_CONTACT" && !past.has(event);
    if (isNew) setChannel(true, channels.get(channel) ?? { id: channel });
    chosen ??= id;
  },
  "/queue/unread-count"({ conversation_id: id, unread_message_count: unread, timestamp: counted }) {
    if (counted >= conversation(id).counted) Object.assign(conversation(id), { unread, counted });
  },
  "/queue/channel/connected": setChannel.bind(null, true),
  "/queue/channel/disconnected": setChannel.bind(null, false),
};

function h(tag, className = "", ...children) {
  const element = Object.assign(document.createElement(tag), { className });
  element.append(...children);
  return element;
}
/** Show items in a list, each with its texts; its elements stay, and so does the focus. */
function show(list, items, make, textsOf) {
  const focused = document.activeElement;
  const known = new Map([...list.children].map((each) => [each.dataset.key, each]));
  items.forEach((item, index) => {
    const element = known.get(item.id) ?? h("li", "", ...make(item));
    known.delete(item.id);
    element.dataset.key = item.id;
    const parts = element.querySelectorAll("p, span, b, small");
    textsOf(item, element).forEach((text, part) => { parts[part].textContent = text; });
    if (list.children[index] !== element) list.insertBefore(element, list.children[index] ?? null);
  });
  known.forEach((each) => each.remove());
  focused.focus({ preventScroll: true });
}
function makeRow({ id }) {
  const button = h("button", "", h("span"), h("b"), h("small"), h("small"));
  button.onclick = () => {
    chosen = id;
    change();
  };
  return [button];
}
function rowTexts(each, { firstChild }) {
  firstChild.ariaCurrent = each.id === chosen;
  return [titleOf(each), each.unread || "", textOf(each.last), time(each.at)];
}
function messageTexts({ event, sender_type: sender, sent_at: at, state = "", ...message }, element) {
  const isMissed = away?.missed?.has(event);
  element.className = `${sender === "SOURCE_CONTACT" ? "" : "ours"} ${isMissed ? "missed" : ""}`;
  return [textOf(message), `${time(at)} ${state}${isMissed ? " · came while you were away" : ""}`];
}
function channelTexts({ id, source, isOn }, element) {
  element.className = isOn ? "on" : "";
  const state = { true: "connected", false: "disconnected", null: "not known yet" }[isOn];
  return [`${nameOf(id)} (${source ?? "?"}): ${state}`];
}
function frameOf(text, isOurs) {
  const { command, headers } = decode(text);
  const about = headers.destination ?? headers.message ?? (headers.recovered ? `recovered:${headers.recovered}` : "");
  const summary = h("summary", "", `${time(Date.now())} ${isOurs ? "→" : "←"} ${command || "heart-beat"} ${about}`);
  return h("li", "", h("details", "", summary, h("pre", "", text.replace("\0", "^@"))));
}
function resumed({ since, until, came, missed, isLost }) {
  const count = missed?.intersection(came).size;
  const numbers = missed ? `Of ${missed.size} events meanwhile ${count} came, ${missed.size - count} are missing.` : "";
  const result = isLost ? "The page has begun anew." : numbers;
  return `You were away for ${((until - since) / 1000).toFixed(1)} s. recovered:${!isLost}. ${result}`;
}
function render() {
  turn = null;
  const rows = [...conversations.values()].sort((one, other) => (one.at < other.at ? 1 : -1));
  const messages = [...(conversations.get(chosen)?.messages.values() ?? [])];
  show(page.conversations, rows, makeRow, rowTexts);
  show(page.messages, messages.reverse(), () => [h("p"), h("small")], messageTexts);
  show(page.channels, [...channels.values()], () => [h("span")], channelTexts);
  page.title.textContent = chosen ? titleOf(conversation(chosen)) : "Messages";
  document.title = `(${rows.reduce((sum, each) => sum + each.unread, 0)}) Inbox – airyd demo`;
  if (!page.pause.checked) page.frames.prepend(...frames.splice(0).reverse());
  while (page.frames.childElementCount > KEPT) page.frames.lastChild.remove();
  if (away?.until) page.resumed.textContent = resumed(away);
}
const change = () => { turn ??= requestAnimationFrame(render); };
function log(text, isOurs) {
  frames = [...frames.slice(1 - KEPT), frameOf(text, isOurs)];
  change();
}

/** Return the ids of events in the history, or null. */
async function idsOf({ destination, position }) {
  const query = new URLSearchParams({ destination, limit: LOADED, ...(position && { after: position }) });
  const reply = await get(`/api/v1/events?${query}`).catch(() => null);
  const ids = reply?.complete ? reply.events.map(({ id }) => id) : null;
  ids?.forEach((each) => past.add(each));
  return ids;
}
async function findMissed(current) {
  const ids = await Promise.all(client.subscriptions.map(idsOf));
  if (!ids.includes(null)) current.missed = new Set(ids.flat());
  change();
}
function showState(name, reason, wait) {
  const isOver = page.state.className === "connected" && away?.until !== 0;
  if (name === "lost" && isOver) away = { since: Date.now(), until: 0, came: new Set(), isLost: false };
  if (name === "connecting" && away?.until === 0) findMissed(away);
  const lost = `Disconnected (${reason}); connecting again in ${Math.ceil(wait / 1000)} s`;
  page.state.textContent = { connecting: "Connecting…", connected: "Connected", lost }[name];
  page.state.className = name;
  page.cut.disabled = name === "connecting";
  page.cut.textContent = name === "lost" ? "Connect now" : "Cut my connection";
}
async function start() {
  const { listeners } = await get("/api/v1/session");
  client = new StompClient(listeners[0], { state: showState, frame: log });
  for (const [destination, handle] of Object.entries(HANDLERS)) {
    const message = (body, { "message-id": event }) => {
      away?.came.add(event);
      handle(JSON.parse(body), event);
      change();
    };
    const live = ({ recovered }) => {
      if (!away || away.isLost) return;
      away.until ||= Date.now();
      away.isLost = recovered !== "true";
      if (!away.isLost) return;
      [conversations, channels].forEach((each) => each.clear());
      chosen = null;
    };
    client.subscribe(destination, { message, live, position: (await idsOf({ destination }))?.[0] });
  }
  client.open();
}

page.cut.onclick = () => (page.state.className === "lost" ? client.open() : client.close("you cut it", AWAY));
page.pause.onchange = change;
page.frames.onclick = () => { page.pause.checked = true; };
start().catch(() => { page.state.textContent = "airyd does not answer"; });
