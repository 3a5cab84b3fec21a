// Traces: the frames of a connection, of a user or of a destination, as they come and go.
import { ApiError, follow, fullNeeded, isFull } from "./api.js";
import { destinationList } from "./action.js";
import { connectionLink, field, form, h, input, notify, select } from "./dom.js";
import { bytes, number, time } from "./format.js";

/** The most lines that are shown; older ones are removed. */
const MOST_LINES = 500;
const ARROWS = { in: "→ airyd", out: "← airyd", event: "event", note: "note" };

function lineOf({ time: at, direction, command, connection, subject, headers, size, body }) {
  const text = headers.map(([name, value]) => `${name}:${value}`).join("  ");
  return h("li", { class: direction },
    time(at, { milliseconds: true }), " ", h("span", { class: "direction" }, ARROWS[direction] ?? direction), " ",
    h("b", {}, command), " ", connection && connectionLink(connection), subject ? ` ${subject} ` : " ",
    h("span", { class: "headers" }, text),
    body == null ? size > 0 && ` (${bytes(size)})` : h("pre", {}, body));
}

/** The lines of a trace, with a form that starts and stops it; query makes the trace's query of the form's fields. */
export function traceView(signal, query, label, ...controls) {
  const notice = h("p", { role: "status", hidden: true });
  const lines = h("ol", { class: "trace", tabindex: "0", "aria-label": "Trace", hidden: true });
  const stop = h("button", { type: "button", disabled: true }, "Stop");
  let running = null;
  let count = 0;
  signal.addEventListener("abort", () => running?.abort());
  stop.onclick = () => running?.abort();

  const add = (events) => {
    const isAtEnd = lines.scrollTop + lines.clientHeight > lines.scrollHeight - 30;
    for (const [name, value] of events) {
      if (name === "end") notify(notice, `The trace has ended: ${value.reason}. ${number(count)} lines.`, "plain");
      if (name === "dropped") lines.append(h("li", { class: "note" }, `${number(value.events)} lines were left out`));
      if (name === "line") lines.append(lineOf(value));
      count += name === "line";
    }
    while (lines.childElementCount > MOST_LINES) lines.firstChild.remove();
    if (isAtEnd) lines.scrollTop = lines.scrollHeight;
  };
  const start = async (fields) => {
    running?.abort();
    const mine = (running = new AbortController());
    lines.replaceChildren();
    [lines.hidden, stop.disabled, count] = [false, false, 0];
    notify(notice, "The trace runs.", "good");
    try {
      await follow("trace", query(fields), mine.signal, add);
      if (notice.textContent === "The trace runs.") notify(notice, "The connection to airyd is lost.");
    } catch (error) {
      if (mine.signal.aborted) notify(notice, `The trace was stopped. ${number(count)} lines.`, "plain");
      else notify(notice, error instanceof ApiError ? error.message : "The connection to airyd is lost.");
    }
    if (running === mine) stop.disabled = true;
  };
  const note = isFull() ? null : h("small", {}, `Without bodies. ${fullNeeded()}`);
  const controlsForm = form(start, controls, h("button", {}, label), stop, note);
  return h("div", {}, controlsForm, notice, lines);
}

export function trace(root, _, signal, query) {
  const kinds = [["connection", "Connection"], ["subject", "User"], ["destination", "Destination"]];
  const kind = kinds.map(([name]) => name).find((name) => query.has(name)) ?? "connection";
  const view = traceView(signal, ({ kind: chosen, value, filter, seconds, bodies }) => ({
    [chosen]: value, filter: chosen === "destination" && filter ? [filter] : [], seconds, bodies: bodies && true,
  }), "Start",
  field("Of", select("kind", kinds, kind)),
  field("Id or name", input("value", query.get(kind) ?? "", { required: true, list: "destinations", size: 36 })),
  field("Filter of a destination", input("filter", "", { placeholder: "field:value" })),
  field("Seconds", input("seconds", "60", { type: "number", min: 1, max: 600 })),
  field("Bodies", input("bodies", "true", { type: "checkbox", disabled: !isFull() })));
  root.append(h("h1", {}, "Trace"), destinationList("destinations", signal), view);
}
