// Publish a test event.
import { action, destinationList } from "./action.js";
import { ask, get, isFull, session } from "./api.js";
import { field, h, input } from "./dom.js";

/** A form to publish to a destination, or to one that is chosen. */
export function publishForm(signal, name) {
  const to = input("destination", { value: name, required: true, list: "names", readonly: Boolean(name), size: 36 });
  const body = h("textarea", { name: "body", rows: 8, required: true, spellcheck: "false" });
  const copy = () => get("events", { destination: to.value, limit: 1, bodies: true }, signal).then(({ events }) => {
    body.value = events[0]?.body ?? "";
    body.placeholder = "This destination has no event to copy.";
  }, ({ message }) => { body.placeholder = message; });
  const copyButton = h("button", { type: "button", disabled: !isFull(), onclick: copy }, "Copy the newest event");
  const prefix = session.level === "open" ? "" : "/api/v1"; // without tokens, only the old path may be used
  const publishIt = async ({ destination, body: event }) => {
    const path = destination.replace(/^\//, "").split("/").map(encodeURIComponent).join("/");
    return `Published as ${(await ask("POST", `${prefix}/publish/${path}`, { body: event })).id}.`;
  };
  const controls = [destinationList("names", signal), field("Destination", to), field("Event", body), copyButton];
  return action("Publish", publishIt, controls, prefix ? undefined : "");
}

export function publish(root, _, signal, parameters) {
  root.append(h("h1", "Publish a test event"), publishForm(signal, parameters.get("destination")));
}
