// Forms that do something, and say what has become of it.
import { ApiError, fullNeeded, get } from "./api.js";
import { form, h, notice, notify } from "./dom.js";

/** A form, disabled if there is a refusal; run returns what to say. */
export function action(label, run, controls, refusal = fullNeeded()) {
  const outcome = notice();
  const button = h("button", { disabled: Boolean(refusal) }, label);
  const submit = async (fields) => {
    button.disabled = true;
    notify(outcome, "Sending…", "plain");
    try {
      notify(outcome, await run(fields), "good");
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      notify(outcome, error.message);
    }
    button.disabled = false;
  };
  return form(submit, controls, button, refusal && h("small", refusal), outcome);
}

/** The same behind a summary that has to be opened first. */
export const hiddenAction = (summary, ...rest) => h("details", h("summary", summary), action(...rest));

/** Say which workers did not answer. */
export const missingText = (missing, what) =>
  missing.length ? `${missing.join(", ")} did not answer in time: ${what} missing.` : "";

export function destinationList(id, signal) {
  const list = h("datalist", { id });
  const fill = ({ destinations }) => list.append(...destinations.map(({ name }) => h("option", { value: name })));
  get("destinations", {}, signal).then(fill, () => {}); // one may write a name without it
  return list;
}
