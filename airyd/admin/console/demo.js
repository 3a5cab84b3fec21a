// An inbox as Airy's, of a sample: source. All that comes from airyd becomes text, never HTML.
import { StompClient, decode } from "./stomp.js";

const AWAY = 8000; // milliseconds that "Cut my connection" takes
const LOADED = 500; // events of each destination that the page begins with, at most
const KEPT = 100; // frames
const byId = (id) => document.getElementById(id);
const conversations = new Map();
const channels = new Map(); // isOn is null if that is unknown
const past = new Set(); // message-ids of events from the history: between destinations, these are in no order
let [client, chosen, frames, isScheduled] = [null, null, [], false];
let away = null; // the last time without a connection: since, came, until, missed, isLost

function h(tag, className, ...children) {
  const element = Object.assign(document.createElement(tag), { className });
  element.append(...children);
  return element;
}
const time = (date) => new Date(date).toLocaleTimeString();
const nameOf = (channel) => channels.get(channel)?.name ?? `Channel ${channel?.slice(0, 8) ?? "?"}`;
const titleOf = ({ id, channel }) => `${nameOf(channel)} · ${id.slice(0, 4)}`;
const textOf = (message) => message?.content?.text ?? JSON.stringify(message?.content ?? "");

function conversation(id) {
  const fresh = { id, channel: null, messages: new Map(), last: null, at: "", unread: 0, counted: "" };
  return conversations.get(id) ?? conversations.set(id, fresh).get(id);
}
function setChannel(channel, isOn, event) {
  const known = channels.get(channel.id);
  channels.set(channel.id, { ...channel, isOn: past.has(event) && known && known.isOn !== isOn ? null : isOn });
}
const HANDLERS = {
  "/queue/message"({ conversation_id: id, channel_id: channel, message }, event) {
    const found = conversation(id);
    found.messages.set(message.id, { ...message, event });
    Object.assign(found, { channel, last: message, at: message.sent_at ?? found.at });
    if (message.sender_type === "SOURCE_CONTACT" && !past.has(event)) setChannel({ ...channels.get(channel), id: channel }, true);
    chosen ??= id;
  },
  "/queue/unread-count"({ conversation_id: id, unread_message_count: unread, timestamp: counted }) {
    if (counted >= conversation(id).counted) Object.assign(conversation(id), { unread, counted });
  },
  "/queue/channel/connected": (channel, event) => setChannel(channel, true, event),
  "/queue/channel/disconnected": (channel, event) => setChannel(channel, false, event),
};

/** Show the items in a list, in their order; elements that are there stay, and so does the focus. */
function show(list, items, make, update) {
  const focused = document.activeElement;
  const known = new Map([...list.children].map((each) => [each.dataset.key, each]));
  items.forEach((item, index) => {
    const element = known.get(item.id) ?? make(item);
    known.delete(item.id);
    element.dataset.key = item.id;
    update(element, item);
    if (list.children[index] !== element) list.insertBefore(element, list.children[index] ?? null);
  });
  known.forEach((each) => each.remove());
  if (document.activeElement !== focused) focused.focus({ preventScroll: true });
}

function render() {
  isScheduled = false;
  const sorted = [...conversations.values()].sort((one, other) => (one.at < other.at ? 1 : -1));
  const choose = ({ id }) => () => { chosen = id; changed(); };
  const row = (each) => {
    const button = h("button", "", h("span"), h("b", "unread"), h("span", "quiet"), h("small", "quiet"));
    button.addEventListener("click", choose(each));
    return h("li", "", button);
  };
  show(byId("conversations"), sorted, row, ({ firstChild: button }, each) => {
    const parts = [titleOf(each), each.unread || "", textOf(each.last), each.at && time(each.at)];
    parts.forEach((part, index) => { if (button.children[index].textContent !== `${part}`) button.children[index].textContent = part; });
    button.children[1].title = "unread";
    button.tabIndex = each.id === chosen ? 0 : -1;
    button.ariaCurrent = each.id === chosen ? "true" : null;
  });
  const { messages = new Map() } = conversations.get(chosen) ?? {};
  const list = byId("messages");
  const isAtEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 30 || list.dataset.of !== chosen;
  show(list, [...messages.values()], () => h("li", "", h("p"), h("small")), (element, { sender_type, state, sent_at, event, ...message }) => {
    const isMissed = Boolean(away?.missed?.has(event));
    element.className = `${sender_type === "SOURCE_CONTACT" ? "" : "ours"} ${isMissed ? "missed" : ""}`;
    element.firstChild.textContent = textOf(message);
    element.lastChild.textContent = [sent_at && time(sent_at), state?.toLowerCase(), isMissed && "came while you were away"].filter(Boolean).join(" · ");
  });
  if (isAtEnd) list.scrollTop = list.scrollHeight;
  list.dataset.of = chosen;
  byId("thread-title").textContent = chosen ? titleOf(conversations.get(chosen)) : "Messages";
  const STATES = new Map([[true, "connected"], [false, "disconnected"], [null, "not known yet"]]);
  show(byId("channels"), [...channels.values()], () => h("li"), (element, { id, source, isOn }) => {
    element.className = isOn ? "on" : "";
    element.textContent = `${nameOf(id)}${source ? ` (${source})` : ""}: ${STATES.get(isOn)}`;
  });
  const unread = sorted.reduce((sum, each) => sum + each.unread, 0);
  document.title = `${unread ? `(${unread}) ` : ""}Inbox – airyd demo`;
  if (!byId("pause").checked) {
    byId("frames").prepend(...frames.splice(0).map(frameOf).reverse());
    while (byId("frames").childElementCount > KEPT) byId("frames").lastChild.remove();
  }
  if (away?.until) {
    const [all, came] = [away.missed?.size, [...(away.missed ?? [])].filter((each) => away.came.has(each)).length];
    const numbers = away.missed ? `${all} events happened meanwhile, ${came} of them came, ${all - came} are missing.` : "";
    byId("resumed").textContent = `You were away for ${((away.until - away.since) / 1000).toFixed(1)} s. ` +
      (away.isLost ? "recovered:false: airyd's history does not reach back, so the page has begun anew." : `recovered:true. ${numbers}`);
    byId("resumed").hidden = false;
  }
}
function changed() {
  if (!isScheduled) requestAnimationFrame(render);
  isScheduled = true;
}

function frameOf({ text, isOurs, at, note }) {
  if (note) return h("li", "note", `${at} ${note}`);
  const { command, headers } = decode(text);
  const about = [headers.destination, headers.recovered && `recovered:${headers.recovered}`, headers.message,
    headers["last-message-id"] && `after ${headers["last-message-id"]}`].filter(Boolean).join(" ");
  const summary = h("summary", "", `${at} ${isOurs ? "→" : "←"} ${command || "heart-beat"} ${about}`);
  return h("li", isOurs ? "out" : "in", h("details", "", summary, h("pre", "", text.replace(/\0$/, "^@"))));
}
function log(frame) {
  frames = [...frames.slice(1 - KEPT), { ...frame, at: time(Date.now()) }];
  changed();
}

/** Return the ids of events in the history, without bodies; null if airyd does not say. */
async function idsOf(destination, after) {
  const query = new URLSearchParams({ destination, limit: LOADED, ...(after && { after }) });
  const reply = await fetch(`/api/v1/events?${query}`).then((each) => (each.ok ? each.json() : null)).catch(() => null);
  return reply?.complete ? reply.events.map(({ id }) => id) : null;
}
async function countMissed(current) {
  const ids = await Promise.all(client.subscriptions.map(({ destination, position }) => position && idsOf(destination, position)));
  current.missed = ids.includes(null) ? null : new Set(ids.flat());
  current.missed?.forEach((each) => past.add(each));
  changed();
}

function showState(name, reason, wait) {
  const texts = { connecting: "Connecting…", connected: "Connected", lost: `Disconnected (${reason}); connecting again in ${Math.ceil(wait / 1000)} s` };
  const was = byId("state").className;
  byId("state").textContent = texts[name];
  byId("state").className = name;
  byId("cut").disabled = name === "connecting";
  byId("cut").textContent = name === "lost" ? "Connect now" : "Cut my connection";
  if (name === "lost") {
    if (was === "connected" && away?.until !== 0) away = { since: Date.now(), came: new Set(), until: 0, missed: null, isLost: false };
    log({ note: `connection lost: ${reason}` });
  }
  if (name === "connecting" && away && !away.until) countMissed(away);
}

async function start() {
  byId("publish").textContent = `.venv/bin/airyd publish ${location.origin} /queue/channel/connected '{"id": "channel-1"}'`;
  const { listeners } = await (await fetch("/api/v1/session")).json();
  client = new StompClient(listeners[0], {
    state: showState,
    frame: (text, isOurs) => log({ text, isOurs }),
    error: ({ message }, body) => log({ note: `ERROR ${message}: ${body}` }),
  });
  for (const [destination, handle] of Object.entries(HANDLERS)) {
    const ids = await idsOf(destination);
    ids?.forEach((each) => past.add(each));
    const message = (body, { "message-id": event }) => {
      away?.came.add(event);
      handle(JSON.parse(body), event);
      changed();
    };
    const live = ({ recovered }) => {
      if (!away) return;
      if (recovered !== "true" && !away.isLost) {
        [conversations, channels].forEach((each) => each.clear());
        [chosen, away.isLost] = [null, true];
      }
      away.until ||= Date.now();
    };
    client.subscribe(destination, { message, live, position: ids?.[0] });
  }
  client.open();
}

byId("cut").addEventListener("click", () => {
  if (byId("state").className === "lost") client.open();
  else client.close("you cut it", AWAY);
});
byId("pause").addEventListener("change", changed);
byId("conversations").addEventListener("keydown", (event) => {
  const items = [...byId("conversations").querySelectorAll("button")];
  const at = items.indexOf(document.activeElement);
  const next = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: items.length - 1 }[event.key];
  if (!items[next]) return;
  event.preventDefault();
  items[next].focus();
  items[next].click();
});
start().catch(() => { byId("state").textContent = "airyd does not answer. Reload this page."; });
