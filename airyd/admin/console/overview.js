// The front page: warnings, charts and figures of the node.
import { fill, h, link, showFacts } from "./dom.js";
import { feed, SPAN } from "./feed.js";
import { bytes, duration, number } from "./format.js";

const [WIDTH, HEIGHT] = [300, 60];
const svg = (tag, attributes) => {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
};

const perSecond = (value) => `${number(value)}${value == null ? "" : "/s"}`;

/** A line chart of the last five minutes. Where a figure is missing, the line has a gap. */
class Chart {
  constructor(title, name, format) {
    Object.assign(this, { title, name, format, value: h("output"), top: h("span", { class: "top" }) });
    this.line = svg("path", { class: "line" });
    const grid = svg("path", { d: `M0 ${HEIGHT / 2}H${WIDTH}` });
    const shape = { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" };
    this.picture = svg("svg", shape);
    this.picture.append(grid, this.line);
    this.element = h("figure", h("figcaption", title), this.value, h("div", this.top, this.picture));
  }

  draw(samples) {
    const end = samples.at(-1)?.time;
    const values = samples.map((each) => each[this.name]).filter((value) => value != null);
    const [least, most] = [Math.min(...values), Math.max(...values)];
    const power = 10 ** Math.floor(Math.log10(most));
    const top = most > 0 ? power * [1, 2, 5, 10].find((each) => each * power >= most) : 1;
    let [path, isOpen] = ["", false];
    for (const { time, [this.name]: value } of samples) {
      const [x, y] = [WIDTH * (1 - (end - time) / SPAN), HEIGHT - 1 - (HEIGHT - 2) * (value / top)];
      if (value != null) path += `${isOpen ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`;
      isOpen = value != null;
    }
    this.line.setAttribute("d", path);
    fill(this.value, this.format(samples.at(-1)?.[this.name]));
    fill(this.top, values.length ? this.format(top) : "");
    const range = values.length ? `${this.format(least)} to ${this.format(most)}` : "no figures";
    this.picture.setAttribute("aria-label", `${this.title}, last five minutes: ${range}`);
  }
}

export function overview(root, _, signal) {
  const charts = [
    new Chart("Connections", "connections", number), new Chart("Events", "events", perSecond),
    new Chart("Deliveries", "deliveries", perSecond), new Chart("Delivery time (99 %)", "latency", duration),
    new Chart("Lag behind the feed", "lag", duration),
  ];
  const [facts, sums, warnings] = [h("dl"), h("dl"), h("div", { class: "warnings" }, "Loading…")];
  const figures = h("div", { class: "charts" }, charts.map((each) => each.element));
  root.append(h("h1", "Overview"), warnings, figures, h("h2", "Now"), facts, h("h2", "Since the start"), sums);
  const draw = () => {
    charts.forEach((each) => each.draw(feed.samples));
    const { reply } = feed;
    if (!reply) return;
    const found = reply.warnings.map((text) => h("li", { class: "bad" }, text));
    if (reply.slow) {
      const text = `${number(reply.slow)} slow connection${reply.slow === 1 ? "" : "s"}: bytes wait for over a second`;
      found.push(h("li", { class: "bad" }, link("#/connections?state=slow&sort=buffered", text)));
    }
    fill(warnings, h("ul", found.length ? found : h("li", { class: "good" }, "No warnings.")));
    showFacts(facts, [
      ["Logged in", number(reply.sessions)], ["Slow", number(reply.slow)], ["Catching up", number(reply.catching_up)],
      ["Queued", bytes(reply.buffered)], ["Redis round trip (99 %)", duration(feed.samples.at(-1)?.roundTrip)],
    ]);
    showFacts(sums, [
      ["Opened", number(reply.opened)], ["Closed", number(reply.closed)], ["Events", number(reply.events)],
      ["Deliveries", number(reply.deliveries)], ["Sent", bytes(reply.sent)],
    ]);
  };
  feed.addEventListener("sample", draw, { signal });
  draw();
}
