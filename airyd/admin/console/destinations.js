// The destinations; for one: its figures, history and live tail, and a form to publish.
import { missingText } from "./action.js";
import { ApiError, get, isFull, poll } from "./api.js";
import { destinationLink, Facts, field, form, h, input, link, notify, select, Table } from "./dom.js";
import { bytes, duration, number, time } from "./format.js";
import { publishForm } from "./publish.js";
import { traceView } from "./trace.js";

const lag = (row) => row.lag_seconds == null && row.lag_entries == null ? "–"
  : `${duration(row.lag_seconds)}, ${number(row.lag_entries)} events`;

export function destinations(root, _, signal) {
  const notice = h("p", { hidden: true, role: "status" });
  const table = new Table("Destinations", [
    { title: "Destination", cell: (row) => destinationLink(row.name) },
    { title: "Events/s", kind: "number", cell: (row) => number(row.events_per_second) },
    { title: "Deliveries/s", kind: "number", cell: (row) => number(row.deliveries_per_second) },
    { title: "Subscriptions", kind: "number", cell: (row) => number(row.subscriptions) },
    { title: "Catching up", kind: "number", cell: (row) => number(row.catching_up) },
    { title: "Filters", kind: "number", cell: (row) => number(row.filters) },
    { title: "Last event", kind: "number", cell: (row) => (row.silence == null ? "–" : `${duration(row.silence)} ago`) },
    { title: "Lag", kind: "number", cell: lag },
    { title: "History", kind: "number", cell: (row) => duration(row.history) },
    { title: "Position", kind: "id", cell: (row) => row.position ?? "–" },
  ], "There are no destinations.");
  root.append(h("h1", {}, "Destinations"), notice, table.element);
  poll(signal, 2, async () => {
    const reply = await get("destinations", {}, signal);
    table.update(reply.destinations);
    return missingText(reply.missing, "their subscriptions are");
  }, (text) => notify(notice, text));
}

export function destination(root, name, signal) {
  const [notice, facts] = [h("p", { hidden: true, role: "status" }), new Facts()];
  const tail = traceView(signal, () => ({ destination: name, seconds: 600, bodies: isFull() || null }), "Start the live tail");
  root.append(
    h("h1", {}, name), notice, facts.element,
    h("h2", {}, "History"), history(name, signal),
    h("h2", {}, "Live tail"), tail,
    h("h2", {}, "Publish a test event"), publishForm(signal, name),
  );
  poll(signal, 2, async () => {
    const row = (await get("destinations", {}, signal)).destinations.find((each) => each.name === name);
    if (!row) throw new ApiError(404, "There is no such destination, or nobody has subscribed to it yet.");
    facts.update([
      ["Events", `${number(row.events_per_second)}/s, ${number(row.events)} since the start`],
      ["Deliveries", `${number(row.deliveries_per_second)}/s, ${number(row.deliveries)} since the start`],
      ["Subscriptions", link(`#/connections?destination=${encodeURIComponent(name)}`, number(row.subscriptions))],
      ["Catching up", number(row.catching_up)],
      ["Groups that get the same bytes", number(row.groups)],
      ["Different filters", number(row.filters)],
      ["Last event", row.silence == null ? "–" : `${duration(row.silence)} ago`],
      ["Lag", lag(row)],
      ["History reaches back", duration(row.history)],
      ["Position", row.position ?? "–"],
    ]);
  }, (text) => notify(notice, text));
}

/** The history, page by page, with a filter to try. */
function history(name, signal) {
  const notice = h("p", { role: "status", hidden: true });
  const table = new Table(`History of ${name}`, [
    { title: "Time", kind: "time", cell: (row) => time(row.time) },
    { title: "message-id", kind: "id", cell: (row) => row.id },
    { title: "Size", kind: "number", cell: (row) => bytes(row.size) },
    { title: "Body", kind: "body", cell: (row) => row.body ?? "needs the full token" },
  ], "There are no events here.");
  const next = h("button", { type: "button", hidden: true }, "Next page");
  let query = {};
  const load = async (more) => {
    query = { ...query, ...more };
    try {
      const reply = await get("events", { destination: name, bodies: isFull() || null, ...query }, signal);
      table.update(reply.events);
      next.hidden = !reply.next;
      next.onclick = () => load({ after: reply.next });
      const lost = reply.complete ? "" : "Events after this message-id are lost, or the history does not know it.";
      notify(notice, lost || (reply.skipped ? `The filter hides ${number(reply.skipped)} events.` : ""), lost ? "bad" : "plain");
    } catch (error) {
      if (signal.aborted) return;
      notify(notice, error.message);
    }
  };
  const controls = form(({ after, limit, filter }) => load({ after, limit, filter: filter?.split(/\s+(?=[^\s:]+:)/) }),
    field("After message-id", input("after", "", { placeholder: "empty: the newest" })),
    field("Filter", input("filter", "", { placeholder: "field:value" })),
    field("Events", select("limit", ["20", "100", "1000"].map((each) => [each, each]), "20")),
    h("button", {}, "Show"), next);
  load({ limit: 20 });
  return h("div", {}, controls, notice, table.element);
}
