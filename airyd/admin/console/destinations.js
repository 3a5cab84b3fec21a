// The destinations; for one: its figures, history and live tail, and a form to publish.
import { missingText } from "./action.js";
import { get, isFull, poll } from "./api.js";
import {
  column, destinationLink, field, figure, form, h, input, link, notice, notify, select, showFacts, Table,
} from "./dom.js";
import { ago, bytes, duration, number, time } from "./format.js";
import { publishForm } from "./publish.js";
import { traceView } from "./trace.js";

const LONGEST_BODY = 5000; // characters that the history shows
const shortBody = ({ body }) => body?.slice(0, LONGEST_BODY) ?? "needs the full token";
const lag = ({ lag_seconds: seconds, lag_entries: entries }) =>
  seconds == null && entries == null ? null : `${duration(seconds)}, ${number(entries)} events`;

export function destinations(root, _, signal) {
  const wrong = notice();
  const table = new Table("Destinations", [
    column("Destination", "", (row) => destinationLink(row.name)),
    figure("Events/s", "events_per_second", number), figure("Deliveries/s", "deliveries_per_second", number),
    figure("Subscriptions", "subscriptions", number), figure("Catching up", "catching_up", number),
    figure("Filters", "filters", number), figure("Last event", "silence", ago), column("Lag", "number", lag),
    figure("History", "history", duration), column("Position", "id", "position"),
  ], "There are no destinations.");
  root.append(h("h1", "Destinations"), wrong, table.element);
  poll(signal, 2, wrong, async () => {
    const reply = await get("destinations", {}, signal);
    table.update(reply.destinations);
    return missingText(reply.missing, "their subscriptions are");
  });
}

export function destination(root, name, signal) {
  const [wrong, facts] = [notice(), h("dl")];
  const tail = () => ({ destination: name, seconds: 600, bodies: isFull() || null });
  root.append(
    h("h1", name), wrong, facts, h("h2", "History"), history(name, signal),
    h("h2", "Live tail"), traceView(signal, tail, "Start the live tail"),
    h("h2", "Publish a test event"), publishForm(signal, name),
  );
  poll(signal, 2, wrong, async () => {
    const row = (await get("destinations", {}, signal)).destinations.find((each) => each.name === name);
    if (!row) return "This destination has no figures.";
    showFacts(facts, [
      ["Events", `${number(row.events_per_second)}/s, ${number(row.events)} since the start`],
      ["Deliveries", `${number(row.deliveries_per_second)}/s, ${number(row.deliveries)} since the start`],
      ["Subscriptions", link(`#/connections?destination=${encodeURIComponent(name)}`, number(row.subscriptions))],
      ["Catching up", number(row.catching_up)], ["Groups that get the same bytes", number(row.groups)],
      ["Different filters", number(row.filters)], ["Last event", ago(row.silence)], ["Lag", lag(row)],
      ["History reaches back", duration(row.history)], ["Position", row.position],
    ]);
  });
}

/** The history, page by page, with a filter to try. */
function history(name, signal) {
  const outcome = notice();
  const table = new Table(`History of ${name}`, [
    column("Time", "", (row) => time(row.time)), column("message-id", "id", "id"),
    figure("Size", "size", bytes), column("Body", "body", shortBody),
  ], "There are no events here.");
  const next = h("button", { type: "button", hidden: true }, "Next page");
  const load = async (query) => {
    const reply = await get("events", { destination: name, bodies: isFull() || null, ...query }, signal);
    table.update(reply.events);
    next.hidden = !reply.next;
    next.onclick = () => show({ ...query, after: reply.next });
    if (!reply.complete) notify(outcome, "Events after this message-id are lost, or the history does not know it.");
    else notify(outcome, reply.skipped ? `The filter hides ${number(reply.skipped)} events.` : "", "plain");
  };
  const show = (query) => load(query).catch((error) => notify(outcome, error.message));
  const controls = form(({ filter, ...query }) => show({ ...query, filter: filter?.split(/\s+(?=[^\s:]+:)/) }),
    field("After message-id", input("after", { placeholder: "empty: the newest" })),
    field("Filter", input("filter", { placeholder: "field:value" })),
    field("Events", select("limit", [["20"], ["100"], ["1000"]])),
    h("button", "Show"), next);
  show({ limit: 20 });
  return h("div", controls, outcome, table.element);
}
