// The frames of a connection, a user or a destination, as they come and go.
import { destinationList } from "./action.js";
import { ApiError, follow, fullNeeded, isFull } from "./api.js";
import { connectionLink, field, form, h, input, notice, notify, select } from "./dom.js";
import { bytes, number, time } from "./format.js";

const MOST_LINES = 500; // older ones are removed
const ARROWS = { in: "→ airyd", out: "← airyd" };

function lineOf({ time: at, direction, command, connection, subject, headers, size, body }) {
  const text = headers.map(([name, value]) => `${name}:${value}`).join("  ");
  const arrow = h("span", { class: "direction" }, ARROWS[direction] ?? direction);
  return h("li", { class: direction },
    time(at, true), " ", arrow, " ", h("b", command), " ", connection && connectionLink(connection),
    subject ? ` ${subject} ` : " ", h("span", { class: "headers" }, text),
    body == null ? size > 0 && ` (${bytes(size)})` : h("pre", body));
}

/** A trace with a form that starts and stops it; query makes its query of the fields. */
export function traceView(signal, query, label, ...controls) {
  const outcome = notice();
  const lines = h("ol", { class: "trace", tabindex: 0, "aria-label": "Trace", hidden: true });
  let [running, count, end] = [null, 0, null];
  const stop = h("button", { type: "button", disabled: true, onclick: () => running.abort() }, "Stop");
  signal.addEventListener("abort", () => running?.abort());
  const add = (events) => {
    const isAtEnd = lines.scrollTop + lines.clientHeight > lines.scrollHeight - 30;
    for (const [name, value] of events) {
      if (name === "end") end = value.reason;
      if (name === "dropped") lines.append(h("li", `${number(value.events)} lines were left out`));
      if (name === "line") lines.append(lineOf(value));
      count += name === "line";
    }
    while (lines.childElementCount > MOST_LINES) lines.firstChild.remove();
    if (isAtEnd) lines.scrollTop = lines.scrollHeight;
  };
  const start = async (fields) => {
    running?.abort();
    const mine = new AbortController();
    lines.replaceChildren();
    [running, count, end, lines.hidden, stop.disabled] = [mine, 0, null, false, false];
    notify(outcome, "The trace runs.", "good");
    const error = await follow("trace", query(fields), mine.signal, add).catch((reason) => reason);
    if (running !== mine) return;
    stop.disabled = true;
    if (mine.signal.aborted) end = "it was stopped";
    if (end) notify(outcome, `The trace has ended: ${end}. ${number(count)} lines.`, "plain");
    else notify(outcome, error instanceof ApiError ? error.message : "The connection to airyd is lost.");
  };
  const note = !isFull() && h("small", `Without bodies. ${fullNeeded()}`);
  return h("div", form(start, controls, h("button", label), stop, note), outcome, lines);
}

export function trace(root, _, signal, parameters) {
  const kinds = ["connection", "subject", "destination"];
  const given = kinds.find((name) => parameters.has(name));
  const query = ({ kind, value, ...more }) => ({ ...more, [kind]: value });
  const value = input("value", { value: parameters.get(given), required: true, list: "destinations", size: 36 });
  root.append(h("h1", "Trace"), destinationList("destinations", signal), traceView(signal, query, "Start",
    field("Of", select("kind", kinds.map((each) => [each]), given)), field("Id or name", value),
    field("Filter of a destination", input("filter", { placeholder: "field:value" })),
    field("Seconds", input("seconds", { value: 60, type: "number", min: 1, max: 600 })),
    field("Bodies", input("bodies", { value: "true", type: "checkbox", disabled: !isFull() }))));
}
