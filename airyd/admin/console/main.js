// The console: its pages by the fragment of the address, the login, and the state of the node in the head.
import { ask, refreshSession, session } from "./api.js";
import { connection, connections } from "./connections.js";
import { destination, destinations } from "./destinations.js";
import { field, fill, form, h, input, link, notify } from "./dom.js";
import { feed, watch } from "./feed.js";
import { time } from "./format.js";
import { nodes } from "./nodes.js";
import { overview } from "./overview.js";
import { publish } from "./publish.js";
import { trace } from "./trace.js";

const PAGES = { overview, destinations, connections, trace, publish, nodes };
const DETAILS = { destinations: destination, connections: connection };
const byId = (id) => document.getElementById(id);
let [leaving, watching] = [new AbortController(), new AbortController()];

function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function show(title, fillPage) {
  leaving.abort();
  leaving = new AbortController();
  const main = byId("main");
  main.replaceChildren();
  fillPage(main, leaving.signal);
  document.title = `${title} · airyd`;
}

/** Show the page that the fragment names. */
function route() {
  if (session.level === "none") return;
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const [name, argument] = path.split("/");
  const page = (argument && DETAILS[name]) || PAGES[name] || overview;
  const detail = argument ? decode(argument) : "";
  show(detail || name || "overview", (main, signal) => page(main, detail, signal, new URLSearchParams(query)));
  for (const each of byId("pages").children) {
    const isHere = each.hash === `#/${Object.hasOwn(PAGES, name) ? name : "overview"}`;
    if (isHere) each.setAttribute("aria-current", "page");
    else each.removeAttribute("aria-current");
  }
}

function showLogin() {
  watching.abort();
  byId("pages").hidden = true;
  notify(byId("lost"), "");
  byId("session").replaceChildren();
  byId("status").replaceChildren();
  session.level = "none";
  const refusal = h("p", { role: "alert", hidden: true });
  const logIn = async ({ token }) => {
    try {
      await ask("POST", "/login", { body: JSON.stringify({ token }) });
      await begin();
    } catch (error) {
      notify(refusal, error.message);
    }
  };
  show("Log in", (main) => main.append(
    h("h1", {}, "Log in"),
    h("p", {}, "Give the token of ", h("code", {}, "--admin-token-file"), " or ", h("code", {}, "--admin-read-token-file"), "."),
    form(logIn, field("Token", input("token", "", { type: "password", required: true, size: 36 })), h("button", {}, "Log in")),
    refusal,
  ));
  document.querySelector("[name=token]").focus();
}

async function logOut() {
  await ask("POST", "/logout", { body: "{}" }).catch(() => {});
  await begin();
}

/** Find out what this browser may do, and show the page or the login. */
async function begin() {
  const version = session.version;
  await refreshSession();
  if (version && version !== session.version) location.reload(); // other files
  if (session.level === "none") return showLogin();
  const names = { full: "full token", read: "read token: looking only", open: "no tokens: looking only, without bodies" };
  const demo = session.demo && h("a", { href: "/demo" }, "Demo");
  byId("brand").title = `airyd ${session.version}`;
  byId("session").replaceChildren(...[demo, names[session.level],
    session.level !== "open" && h("button", { type: "button", onclick: logOut }, "Log out")].filter(Boolean));
  byId("pages").replaceChildren(...Object.keys(PAGES).map((name) => link(`#/${name}`, name[0].toUpperCase() + name.slice(1))));
  byId("pages").hidden = false;
  watching.abort();
  watching = new AbortController();
  watch(watching.signal);
  route();
}

let wasLost = false;
feed.addEventListener("sample", () => {
  const { lostSince, reply } = feed;
  const name = lostSince ? "lost" : reply.ready ? "ready" : "not ready";
  fill(byId("status"), h("span", { class: `state ${name === "ready" ? "live" : "slow"}` }, name));
  const text = lostSince && h("span", {}, "airyd has not answered since ", time(lostSince), ". What is shown is from before; trying again.");
  notify(byId("lost"), text);
  if (wasLost && !lostSince) begin().catch(() => {});
  wasLost = Boolean(lostSince);
});
session.addEventListener("logout", showLogin);
addEventListener("hashchange", () => {
  route();
  byId("main").focus({ preventScroll: true });
  scrollTo(0, 0);
});
begin().catch((error) => {
  notify(byId("lost"), `${error.message} Load this page again.`);
});
