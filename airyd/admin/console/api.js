// The API of the admin page, and what this browser may do.
import { notify } from "./dom.js";

const PATIENCE = 15_000;
/** /api/v1/session; an event "logout" says that the login is gone. */
export const session = Object.assign(new EventTarget(), { level: "none", version: "" });
export const isFull = () => session.level === "full";
/** Why this browser may not do what needs the full token. */
export const fullNeeded = () => isFull() ? "" : session.level === "open"
  ? "This needs a login: start airyd with --admin-token-file." : "This needs the full token; yours may only read.";

export class ApiError extends Error {}

async function send(method, path, { query = {}, body, signal }) {
  const pairs = Object.entries(query).flatMap(([name, value]) => [value ?? ""].flat().map((each) => [name, each]));
  const parameters = new URLSearchParams(pairs.filter(([, value]) => value !== ""));
  const headers = method === "GET" ? {} : { "X-Airyd-Request": "1", "Content-Type": "application/json" };
  const response = await fetch(`${path}${parameters.size ? "?" : ""}${parameters}`, { method, headers, body, signal })
    .catch((error) => { throw error.name === "AbortError" ? error : new ApiError("airyd does not answer."); });
  if (response.ok) return response;
  if (response.status === 401 && path !== "/login") session.dispatchEvent(new Event("logout"));
  throw new ApiError(await response.json().then(({ error }) => error, () => response.statusText));
}

/** Send a request and return the answer's JSON. */
export async function ask(method, path, { signal, ...more } = {}) {
  const signals = [AbortSignal.timeout(PATIENCE), ...(signal ? [signal] : [])];
  const response = await send(method, path, { ...more, signal: AbortSignal.any(signals) });
  return response.status === 204 ? null : response.json();
}

export const get = (path, query, signal) => ask("GET", `/api/v1/${path}`, { query, signal });

/** Read server-sent events; onEvents gets those that arrive together, each as [name, value]. */
export async function follow(path, query, signal, onEvents) {
  const response = await send("GET", `/api/v1/${path}`, { query, signal });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    const events = blocks.map((block) => block.match(/^event: (.*)\ndata: (.*)$/)).filter(Boolean);
    if (events.length) onEvents(events.map(([, name, data]) => [name, JSON.parse(data)]));
  }
}

export const pause = (seconds) => new Promise((resolve) => { setTimeout(resolve, seconds * 1000); });

/** Load every few seconds until the signal; the notice shows what is wrong, or what load returns. */
export async function poll(signal, seconds, notice, load) {
  while (!signal.aborted) {
    const text = await load().catch((error) => {
      if (!signal.aborted && !(error instanceof ApiError)) throw error;
      return error.message;
    });
    if (!signal.aborted) notify(notice, text);
    await pause(seconds);
  }
}
