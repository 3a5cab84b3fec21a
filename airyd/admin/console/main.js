// The pages by the fragment of the address, the login, and the state of the node.
import { action } from "./action.js";
import { ask, get, session } from "./api.js";
import { connection, connections } from "./connections.js";
import { destination, destinations } from "./destinations.js";
import { field, fill, h, input, link, notify, state } from "./dom.js";
import { feed, watch } from "./feed.js";
import { time } from "./format.js";
import { nodes } from "./nodes.js";
import { overview } from "./overview.js";
import { publish } from "./publish.js";
import { trace } from "./trace.js";

const PAGES = { __proto__: null, overview, destinations, connections, trace, publish, nodes };
const DETAILS = { __proto__: null, destinations: destination, connections: connection };
const LEVELS = { full: "full token", read: "read token", open: "no tokens" };
const byId = (id) => document.getElementById(id);
let [leaving, watching, wasLost] = [new AbortController(), new AbortController(), false];

function show(title, fillPage) {
  leaving.abort();
  leaving = new AbortController();
  byId("main").replaceChildren();
  fillPage(byId("main"), leaving.signal);
  document.title = `${title} · airyd`;
}

/** Show the page that the fragment names. */
function route() {
  if (session.level === "none") return;
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const [name, argument = ""] = path.split("/");
  const detail = new URLSearchParams(`is=${argument}`).get("is"); // also decodes what is malformed
  const page = (detail && DETAILS[name]) || PAGES[name] || overview;
  show(detail || name || "overview", (main, signal) => page(main, detail, signal, new URLSearchParams(query)));
  for (const each of byId("pages").children) {
    each.ariaCurrent = each.hash === `#/${name in PAGES ? name : "overview"}` ? "page" : null;
  }
}

function showLogin() {
  watching.abort();
  session.level = "none";
  byId("pages").hidden = true;
  notify(byId("lost"), "");
  for (const id of ["session", "status"]) byId(id).replaceChildren();
  const logIn = async ({ token }) => {
    await ask("POST", "/login", { body: JSON.stringify({ token }) });
    await begin();
  };
  const token = input("token", { type: "password", required: true, size: 36 });
  const options = [h("code", "--admin-token-file"), " or ", h("code", "--admin-read-token-file")];
  show("Log in", (main) => main.append(
    h("h1", "Log in"), h("p", "Give the token of ", options, "."),
    action("Log in", logIn, field("Token", token), ""),
  ));
  token.focus();
}

/** Find out what this browser may do, and show the page or the login. */
async function begin() {
  const { version } = session;
  Object.assign(session, await get("session"));
  if (version && version !== session.version) location.reload(); // other files
  if (session.level === "none") return showLogin();
  const onclick = () => ask("POST", "/logout").then(begin);
  const button = session.level !== "open" && h("button", { type: "button", onclick }, "Log out");
  const about = [session.demo && [link("/demo", "Demo"), " "], LEVELS[session.level], " ", button];
  fill(byId("session"), h("span", about.flat()));
  byId("pages").replaceChildren(...Object.keys(PAGES).map((name) => link(`#/${name}`, name)));
  byId("pages").hidden = false;
  watching.abort();
  watching = new AbortController();
  watch(watching.signal);
  route();
}

feed.addEventListener("sample", () => {
  const { lostSince, reply } = feed;
  const name = lostSince ? "lost" : reply.ready ? "ready" : "not ready";
  fill(byId("status"), state(name, name === "ready" ? "live" : "slow"));
  const text = ["airyd has not answered since ", time(lostSince), ". These figures are older; trying again."];
  notify(byId("lost"), lostSince && h("span", text));
  if (wasLost && !lostSince) begin().catch(() => {});
  wasLost = Boolean(lostSince);
});
session.addEventListener("logout", showLogin);
addEventListener("hashchange", () => {
  route();
  byId("main").focus({ preventScroll: true });
  scrollTo(0, 0);
});
begin().catch((error) => notify(byId("lost"), `${error.message} Load this page again.`));
