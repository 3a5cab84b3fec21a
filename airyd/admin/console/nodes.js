// The processes of the node, and draining.
import { hiddenAction, missingText } from "./action.js";
import { ask, get, poll } from "./api.js";
import { column, figure, h, notice, showFacts, state, Table } from "./dom.js";
import { bytes, number, percent, since } from "./format.js";

const ofMost = (pair) => pair && `${number(pair[0])} of ${number(pair[1])}`;

/** The state of a process, with its problems in words. */
function words({ ready, draining, reasons, warnings }) {
  const list = [...new Set([...reasons, ...warnings])].join("; ");
  const name = draining ? "draining" : ready ? "ready" : "not ready";
  return h("span", state(name, name === "ready" ? "live" : "slow"), list && ` ${list}`);
}

export function nodes(root, _, signal) {
  const [wrong, facts] = [notice(), h("dl")];
  const table = new Table("Processes", [
    column("Process", "", "name"), column("State", "text", words), figure("Pid", "pid", String),
    column("Started", "", (row) => since(row.since)), figure("CPU", "load", percent), figure("Memory", "memory", bytes),
    figure("Open files", "files", ofMost), figure("Connections", "connections", ofMost),
  ], "No process has answered.");
  const drain = (method) => async () => {
    const { draining, connections } = await ask(method, "/api/v1/drain");
    return draining ? `The node drains; connections left: ${number(connections)}.` : "The node serves clients again.";
  };
  root.append(
    h("h1", "Nodes"), wrong, table.element, h("h2", "Versions and sources"), facts, h("h2", "Drain"),
    h("p", "A node that drains refuses new clients and closes its own. Its process stays."),
    hiddenAction("Drain this node", "Drain now", drain("POST")),
    hiddenAction("Take the drain back", "Serve clients again", drain("DELETE")),
  );
  poll(signal, 2, wrong, async () => {
    const { processes, missing } = await get("processes", {}, signal);
    table.update(processes);
    const sources = new Set(processes.flatMap((each) => each.sources));
    showFacts(facts, [...Object.entries(processes[0]?.versions ?? {}), ["Sources", [...sources].join(", ")]]);
    return missingText(missing, "their figures are");
  });
}
