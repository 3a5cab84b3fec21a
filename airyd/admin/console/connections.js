// The connections; for one: all that airyd knows of it, and what can be done with it.
import { hiddenAction, missingText } from "./action.js";
import { ask, get, poll } from "./api.js";
import { connectionLink, destinationLink, Facts, field, form, h, input, link, notify, select, state, Table } from "./dom.js";
import { bytes, duration, number, since, time } from "./format.js";

const STATES = ["opening", "live", "catching-up", "slow", "closing"];
const SORTS = [["age", "oldest"], ["buffered", "queued bytes"], ["lag", "lag"], ["deliveries", "deliveries"]];
const FILTERS = ["subject", "address", "destination", "state", "sort", "limit"];

const userLink = (name) => (name == null ? "–" : link(`#/connections?${new URLSearchParams({ subject: name })}`, name));

export function connections(root, _, signal, query) {
  const chosen = Object.fromEntries([...FILTERS, "cursor"].map((name) => [name, query.get(name)]));
  const page = Number(query.get("page") ?? 1);
  const to = (fields) => `#/connections?${new URLSearchParams(fields)}`;
  const [notice, total] = [h("p", { hidden: true, role: "status" }), h("p", { role: "status" })];
  const pages = h("nav", { class: "pager", "aria-label": "Pages of connections" });
  const given = FILTERS.filter((name) => chosen[name]).map((name) => [name, chosen[name]]);
  const table = new Table("Connections", [
    { title: "Connection", kind: "id", cell: (row) => connectionLink(row.id) },
    { title: "User", kind: "text", cell: (row) => userLink(row.subject) },
    { title: "State", cell: (row) => state(row.state) },
    { title: "Address", kind: "id", cell: (row) => row.address },
    { title: "Queued", kind: "number", cell: (row) => bytes(row.buffered) },
    { title: "Lag", kind: "number", cell: (row) => duration(row.lag) },
    { title: "Deliveries", kind: "number", cell: (row) => number(row.events) },
    { title: "Subscriptions", kind: "number", cell: (row) => number(row.subscriptions) },
    { title: "Since", cell: (row) => time(row.since) },
    { title: "Process", cell: (row) => row.process },
    { title: "Agent", kind: "text", cell: (row) => row.agent ?? "–" },
  ], given.some(([name]) => name !== "sort" && name !== "limit") ? "No connection matches." : "Nobody is connected.");
  const filters = form((fields) => { location.hash = to(fields); },
    field("User", input("subject", chosen.subject ?? "")),
    field("Address", input("address", chosen.address ?? "")),
    field("Destination", input("destination", chosen.destination ?? "")),
    field("State", select("state", [["", "any"], ...STATES.map((each) => [each, each])], chosen.state ?? "")),
    field("Sort by", select("sort", SORTS, chosen.sort ?? "age")),
    field("Rows", select("limit", ["50", "200", "1000"].map((each) => [each, each]), chosen.limit ?? "50")),
    h("button", {}, "Find"));
  root.append(h("h1", {}, "Connections"), filters, notice, total, table.element, pages);
  poll(signal, 3, async () => {
    const reply = await get("connections", chosen, signal);
    table.update(reply.connections);
    const count = reply.total === 1 ? "1 connection" : `${number(reply.total)} connections`;
    notify(total, `${count}, page ${page}`, "plain");
    const next = { ...Object.fromEntries(given), cursor: reply.next, page: page + 1 };
    pages.replaceChildren(
      ...(page > 1 && !pages.contains(document.activeElement) ? [link(to(given), "First page"), " "] : []),
      ...(reply.next ? [link(to(next), "Next page")] : []),
    );
    return missingText(reply.missing, "their connections are");
  }, (text) => notify(notice, text));
}

export function connection(root, id, signal) {
  const [notice, facts, actions] = [h("p", { hidden: true, role: "status" }), new Facts(), h("div")];
  const table = new Table("Subscriptions", [
    { title: "Destination", cell: (row) => destinationLink(row.destination) },
    { title: "Id", kind: "id", cell: (row) => row.id },
    { title: "State", cell: (row) => state(row.state) },
    { title: "Position", kind: "id", cell: (row) => row.position ?? "–" },
    { title: "Lag", kind: "number", cell: (row) => duration(row.lag) },
    { title: "ack", cell: (row) => row.ack },
    { title: "Unacknowledged", kind: "number", cell: (row) => (row.window == null ? "–" : `${number(row.unacknowledged)} of ${number(row.window)}`) },
    { title: "Filter", kind: "text", cell: (row) => row.filter ?? "–" },
  ], "It has no subscriptions.");
  const encoded = encodeURIComponent(id);
  root.append(h("h1", {}, "Connection ", h("span", { class: "id" }, id)), notice, facts.element,
    h("p", {}, link(`#/trace?connection=${encoded}`, "Trace this connection")),
    h("h2", {}, "Subscriptions"), table.element, h("h2", {}, "Why did an event not arrive?"), explain(id),
    h("h2", {}, "Disconnect"), actions);
  let shown = null;
  poll(signal, 2, async () => {
    const { connection: row, heart_beat: [ours, theirs], ...more } = await get(`connections/${encoded}`, {}, signal);
    facts.update([
      ["User", userLink(row.subject)],
      ["State", state(row.state)],
      ["Address", row.address],
      ["Agent", row.agent ?? "–"],
      ["STOMP", row.version ?? "–"],
      ["Process", row.process],
      ["Connected", since(row.since)],
      ["Queued", `${bytes(row.buffered)} of at most ${bytes(more.limit)}`],
      ["Lag", duration(row.lag)],
      ["Deliveries", number(row.events)],
      ["Sent to the client", bytes(more.sent)],
      ["Received from it", bytes(more.received)],
      ["Last heard", `${duration(more.heard)} ago`],
      ["Heart-beats", `airyd's ${duration(ours)}, client's ${duration(theirs)}`],
      ["Login ends", more.token_end == null ? "never" : time(more.token_end)],
    ]);
    table.update(more.subscriptions, (each) => `${each.id} ${each.destination}`);
    if (!shown) actions.append(...kicks(id, row.subject));
    shown = row;
  }, (text) => notify(notice, text));
}

/** Forms that end a connection, or all of a user. */
function kicks(id, subject) {
  const reason = () => field("Reason, for the client to see", input("reason", "", { maxlength: 200, size: 36 }));
  const kick = (path, query) => async (fields) => {
    const { disconnected, missing } = await ask("DELETE", `/api/v1/connections${path}`, { query: { ...query, ...fields } });
    const rest = missing.length ? ` ${missing.join(", ")} did not answer.` : "";
    return `Disconnected: ${number(disconnected)}. The client may come back.${rest}`;
  };
  return [
    hiddenAction("This connection", "Disconnect it", kick(`/${encodeURIComponent(id)}`, {}), [reason()]),
    subject != null && hiddenAction(`All connections of ${subject}`, "Disconnect them", kick("", { subject }), [reason()]),
  ].filter(Boolean);
}

/** A form that asks what has become of an event. */
function explain(connection) {
  const answer = h("p", { role: "status", hidden: true });
  const submit = async (fields) => {
    try {
      const { outcome, text } = await get("explain", { connection, ...fields });
      notify(answer, `${outcome}: ${text}`, outcome === "sent" ? "good" : "plain");
    } catch (error) {
      notify(answer, error.message);
    }
  };
  return h("div", {}, form(submit,
    field("message-id, or the feed's id", input("event", "", { required: true, size: 36 })),
    field("Destination, for the feed's id", input("destination", "")),
    h("button", {}, "Explain")), answer);
}
