// The connections; for one: what airyd knows of it, and what can be done.
import { action, hiddenAction, missingText } from "./action.js";
import { ask, get, poll } from "./api.js";
import {
  column, connectionLink, destinationLink, field, figure, fill, form, h, input, link, notice, notify, select, showFacts,
  state, Table,
} from "./dom.js";
import { ago, bytes, duration, number, since, time } from "./format.js";

const STATES = [["", "any"], ["opening"], ["live"], ["catching-up"], ["slow"], ["closing"]];
const SORTS = [["age", "oldest"], ["buffered", "queued bytes"], ["lag"], ["deliveries"]];
const listHash = (fields) => `#/connections?${new URLSearchParams(fields)}`;
const userLink = (name) => name == null ? null : link(listHash({ subject: name }), name);

export function connections(root, _, signal, parameters) {
  const { cursor, page = 1, ...chosen } = Object.fromEntries(parameters);
  const { limit: _limit, sort: _sort, ...filters } = chosen;
  const [wrong, total, pages] = [notice(), notice(), h("p")];
  const table = new Table("Connections", [
    column("Connection", "id", (row) => connectionLink(row.id)),
    column("User", "text", (row) => userLink(row.subject)), column("State", "", (row) => state(row.state)),
    column("Address", "id", "address"), figure("Queued", "buffered", bytes), figure("Lag", "lag", duration),
    figure("Deliveries", "events", number), figure("Subscriptions", "subscriptions", number),
    column("Since", "", (row) => time(row.since)), column("Process", "", "process"),
    column("Agent", "text", "agent"),
  ], Object.keys(filters).length ? "No connection matches." : "Nobody is connected.");
  const text = (label, name) => field(label, input(name, { value: chosen[name] }));
  const controls = form((fields) => { location.hash = listHash(fields); },
    text("User", "subject"), text("Address", "address"), text("Destination", "destination"),
    field("State", select("state", STATES, chosen.state)), field("Sort by", select("sort", SORTS, chosen.sort)),
    field("Rows", select("limit", [["50"], ["200"], ["1000"]], chosen.limit)), h("button", "Find"));
  root.append(h("h1", "Connections"), controls, wrong, total, table.element, pages);
  poll(signal, 3, wrong, async () => {
    const reply = await get("connections", { ...chosen, cursor }, signal);
    table.update(reply.connections);
    notify(total, `${number(reply.total)} connection${reply.total === 1 ? "" : "s"}, page ${page}`, "plain");
    const first = page > 1 && link(listHash(chosen), "First page");
    const next = listHash({ ...chosen, cursor: reply.next, page: Number(page) + 1 });
    fill(pages, h("span", first, " ", reply.next && link(next, "Next page")));
    return missingText(reply.missing, "their connections are");
  });
}

export function connection(root, id, signal) {
  const [wrong, facts, kicks] = [notice(), h("dl"), h("div")];
  const encoded = encodeURIComponent(id);
  const table = new Table("Subscriptions", [
    column("Destination", "", (row) => destinationLink(row.destination)), column("Id", "id", "id"),
    column("State", "", (row) => state(row.state)), column("Position", "id", "position"),
    figure("Lag", "lag", duration), column("ack", "", "ack"),
    column("Unacknowledged", "number", (row) => row.window && `${number(row.unacknowledged)} of ${number(row.window)}`),
    column("Filter", "text", "filter"),
  ], "It has no subscriptions.");
  const explain = action("Explain", async (fields) => {
    const { outcome, text } = await get("explain", { connection: id, ...fields }, signal);
    return `${outcome}: ${text}`;
  }, [
    field("message-id, or the feed's id", input("event", { required: true, size: 36 })),
    field("Destination, for the feed's id", input("destination")),
  ], "");
  root.append(
    h("h1", "Connection ", h("span", { class: "id" }, id)), wrong, facts,
    h("p", link(`#/trace?connection=${encoded}`, "Trace this connection")),
    h("h2", "Subscriptions"), table.element, h("h2", "Why did an event not arrive?"), explain,
    h("h2", "Disconnect"), kicks,
  );
  poll(signal, 2, wrong, async () => {
    const { connection: row, heart_beat: [ours, theirs], ...more } = await get(`connections/${encoded}`, {}, signal);
    showFacts(facts, [
      ["User", userLink(row.subject)], ["State", state(row.state)], ["Address", row.address], ["Agent", row.agent],
      ["STOMP", row.version], ["Process", row.process], ["Connected", since(row.since)],
      ["Queued", `${bytes(row.buffered)} of at most ${bytes(more.limit)}`],
      ["Lag", duration(row.lag)], ["Deliveries", number(row.events)], ["Sent to the client", bytes(more.sent)],
      ["Received from it", bytes(more.received)], ["Last heard", ago(more.heard)],
      ["Heart-beats", `airyd's ${duration(ours)}, client's ${duration(theirs)}`],
      ["Login ends", more.token_end == null ? "never" : time(more.token_end)],
    ]);
    table.update(more.subscriptions, (each) => `${each.id} ${each.destination}`);
    if (!kicks.hasChildNodes()) {
      const name = row.subject;
      kicks.append(kick("This connection", "Disconnect it", `/${encoded}`));
      if (name != null) kicks.append(kick(`All connections of ${name}`, "Disconnect them", "", name));
    }
  });
}

/** A form that ends a connection, or all of a user. */
function kick(summary, label, path, subject = null) {
  return hiddenAction(summary, label, async ({ reason }) => {
    const { disconnected, missing } = await ask("DELETE", `/api/v1/connections${path}`, { query: { subject, reason } });
    return `Disconnected: ${number(disconnected)}. They may come back. ${missingText(missing, "its clients are")}`;
  }, [field("Reason, for the client to see", input("reason", { maxlength: 200, size: 36 }))]);
}
