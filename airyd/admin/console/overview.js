// The front page: warnings, charts and figures of the node.
import { Chart } from "./chart.js";
import { fill, h, link, showFacts } from "./dom.js";
import { feed } from "./feed.js";
import { bytes, duration, number } from "./format.js";

const perSecond = (value) => `${number(value)}${value == null ? "" : "/s"}`;

export function overview(root, _, signal) {
  const charts = [
    new Chart("Connections", "connections", number), new Chart("Events", "events", perSecond),
    new Chart("Deliveries", "deliveries", perSecond), new Chart("Delivery time (99 %)", "latency", duration),
    new Chart("Lag behind the feed", "lag", duration),
  ];
  const [facts, warnings] = [h("dl"), h("section", { class: "warnings", "aria-label": "Warnings" }, "Loading…")];
  const figures = h("div", { class: "charts" }, charts.map((each) => each.element));
  root.append(h("h1", {}, "Overview"), warnings, figures, h("h2", {}, "Now"), facts);
  const draw = () => {
    charts.forEach((each) => each.draw(feed.samples));
    const { reply } = feed;
    if (!reply) return;
    const found = reply.warnings.map((text) => h("li", { class: "bad" }, text));
    if (reply.slow) {
      const text = `${number(reply.slow)} slow: bytes have been queued for more than a second`;
      found.push(h("li", { class: "bad" }, link("#/connections?state=slow&sort=buffered", text)));
    }
    fill(warnings, h("ul", {}, found.length ? found : h("li", { class: "good" }, "No warnings.")));
    showFacts(facts, [
      ["Logged in", number(reply.sessions)], ["Slow", number(reply.slow)], ["Catching up", number(reply.catching_up)],
      ["Queued for all clients", bytes(reply.buffered)], ["Sent since the start", bytes(reply.sent)],
      ["Opened since the start", number(reply.opened)], ["Closed since the start", number(reply.closed)],
      ["Events since the start", number(reply.events)], ["Deliveries since the start", number(reply.deliveries)],
      ["Redis round trip (99 %)", duration(feed.samples.at(-1)?.roundTrip)],
    ]);
  };
  feed.addEventListener("sample", draw, { signal });
  draw();
}
