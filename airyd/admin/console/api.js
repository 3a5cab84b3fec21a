// The API of the admin page, and what this browser may do.

/** level, version, listeners and demo of /api/v1/session; an event "logout" says that the login is gone. */
export const session = Object.assign(new EventTarget(), { level: "none", version: "" });

export class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status; // 0 without an answer
  }
}

const PATIENCE = 15_000;
const encode = (query) => {
  const pairs = Object.entries(query).flatMap(([name, value]) => [value].flat().map((each) => [name, each]));
  const text = new URLSearchParams(pairs.filter(([, value]) => value != null && value !== "")).toString();
  return text && `?${text}`;
};

async function send(method, path, { query = {}, body, signal } = {}) {
  const headers = method === "GET" ? {} : { "X-Airyd-Request": "1", "Content-Type": "application/json" };
  let response;
  try {
    response = await fetch(path + encode(query), { method, headers, body, signal, redirect: "error" });
  } catch (error) {
    throw signal?.reason?.name === "AbortError" ? error : new ApiError(0, "airyd does not answer.");
  }
  if (response.ok) return response;
  const reason = await response.json().then(({ error }) => error, () => response.statusText);
  if (response.status === 401 && path !== "/login") session.dispatchEvent(new Event("logout"));
  throw new ApiError(response.status, reason);
}

/** Send a request and return the answer's JSON. */
export async function ask(method, path, { signal, ...more } = {}) {
  const patience = AbortSignal.timeout(PATIENCE);
  const response = await send(method, path, { ...more, signal: signal ? AbortSignal.any([signal, patience]) : patience });
  return response.status === 204 ? null : response.json();
}

export const get = (path, query, signal) => ask("GET", `/api/v1/${path}`, { query, signal });

/** Read server-sent events until they end; onEvent gets all that have arrived together, as [name, value]. */
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

export async function refreshSession() {
  Object.assign(session, await get("session"));
}

/** Load now and every few seconds until the signal; show gets what is wrong, or what load returns, or nothing. */
export async function poll(signal, seconds, load, show) {
  while (!signal.aborted) {
    try {
      const text = await load();
      if (!signal.aborted) show(text ?? "");
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof ApiError)) throw error;
      show(error.message);
    }
    await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
  }
}

export const isFull = () => session.level === "full";
/** Why this browser may not do what needs the full token. */
export const fullNeeded = () => isFull() ? "" : session.level === "open"
  ? "This needs a login: start airyd with --admin-token-file." : "This needs the full token; yours may only read.";
