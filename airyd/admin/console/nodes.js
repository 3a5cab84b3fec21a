// The processes of the node, and draining.
import { hiddenAction, missingText } from "./action.js";
import { ask, get, poll } from "./api.js";
import { Facts, h, notify, Table } from "./dom.js";
import { bytes, duration, number, percent, since } from "./format.js";

const ofMost = (pair) => (pair ? `${number(pair[0])} of ${number(pair[1])}` : "–");

/** The state of a process in words. */
function words({ ready, draining, reasons, warnings }) {
  const first = draining ? "draining" : ready ? "ready" : "not ready";
  const list = [...new Set([...reasons, ...warnings])];
  return h("span", {}, h("span", { class: `state ${ready && !draining ? "live" : "slow"}` }, first), list.length ? ` ${list.join("; ")}` : null);
}

export function nodes(root, _, signal) {
  const [notice, facts] = [h("p", { hidden: true, role: "status" }), new Facts()];
  const table = new Table("Processes", [
    { title: "Process", cell: (row) => row.name },
    { title: "State", kind: "text", cell: words },
    { title: "Pid", kind: "number", cell: (row) => String(row.pid) },
    { title: "Started", cell: (row) => since(row.since) },
    { title: "CPU", kind: "number", cell: (row) => percent(row.load) },
    { title: "Memory", kind: "number", cell: (row) => bytes(row.memory) },
    { title: "Open files", kind: "number", cell: (row) => ofMost(row.files) },
    { title: "Connections", kind: "number", cell: (row) => ofMost(row.connections) },
  ], "No process has answered.");
  const drain = async (method) => {
    const { draining, connections } = await ask(method, "/api/v1/drain");
    return draining ? `The node drains; ${number(connections)} connections are left.` : "The node serves clients again.";
  };
  root.append(
    h("h1", {}, "Nodes"), notice, table.element, h("h2", {}, "Versions and sources"), facts.element, h("h2", {}, "Drain"),
    h("p", {}, "A node that drains is not ready, refuses new clients and closes those that it has. Its process stays."),
    hiddenAction("Drain this node", "Drain now", () => drain("POST")),
    hiddenAction("Take the drain back", "Serve clients again", () => drain("DELETE")),
  );
  poll(signal, 2, async () => {
    const { processes, missing } = await get("processes", {}, signal);
    table.update(processes);
    const [first] = processes;
    const sources = [...new Set(processes.flatMap((each) => each.sources))];
    facts.update([...Object.entries(first?.versions ?? {}), ["Sources", sources.join(", ")]]);
    return missingText(missing, "their figures are");
  }, (text) => notify(notice, text));
}
