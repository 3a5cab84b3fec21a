// Publish a test event.
import { ask, get, isFull, session } from "./api.js";
import { action, destinationList } from "./action.js";
import { field, h, input } from "./dom.js";

/** A form to publish to a destination, or to one that is chosen. */
export function publishForm(signal, name) {
  const to = input("destination", name ?? "", { required: true, list: "names", readonly: Boolean(name), size: 36 });
  const body = h("textarea", { name: "body", rows: 8, required: true, spellcheck: "false", placeholder: "one JSON object" });
  const copy = () => get("events", { destination: to.value, limit: 1, bodies: true }, signal).then(({ events }) => {
    body.value = events[0]?.body ?? "";
    body.placeholder = "This destination has no event to copy.";
  }).catch(({ message }) => { body.placeholder = message; });
  const copyButton = h("button", { type: "button", disabled: !isFull(), onclick: copy }, "Copy the newest event");
  const isOpen = session.level === "open";
  const run = async ({ destination, body: event }) => {
    const path = destination.replace(/^\//, "").split("/").map(encodeURIComponent).join("/");
    const { id } = await ask("POST", `${isOpen ? "" : "/api/v1"}/publish/${path}`, { body: event });
    return `Published as ${id}.`;
  };
  const controls = [destinationList("names", signal), field("Destination", to), field("Event", body), copyButton];
  return isOpen ? action("Publish", run, controls, "") : action("Publish", run, controls);
}

export function publish(root, _, signal, query) {
  root.append(h("h1", {}, "Publish a test event"), publishForm(signal, query.get("destination")));
}
