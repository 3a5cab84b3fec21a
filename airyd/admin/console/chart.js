// A line chart of the last five minutes. Where a figure is missing, the line has a gap.
import { fill, h } from "./dom.js";
import { SPAN } from "./feed.js";

const [WIDTH, HEIGHT] = [300, 60];
const svg = (tag, attributes, ...children) => {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
};

/** Return the next of 1, 2, 5, 10, 20, … */
function roundUp(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((each) => each * power).find((each) => each >= value);
}

export class Chart {
  /** A chart of the samples' figure of this name. */
  constructor(title, name, format) {
    Object.assign(this, { title, name, format, value: h("output"), top: h("span", { class: "top" }) });
    this.line = svg("path", { class: "line" });
    const grid = svg("path", { d: `M0 ${HEIGHT / 2}H${WIDTH}` });
    const shape = { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" };
    this.picture = svg("svg", shape, grid, this.line);
    this.element = h("figure", {}, h("figcaption", {}, title), this.value, h("div", {}, this.top, this.picture));
  }

  draw(samples) {
    const end = samples.at(-1)?.time;
    const values = samples.map((each) => each[this.name]).filter((value) => value != null);
    const [least, most] = [Math.min(...values), Math.max(...values)];
    const top = most > 0 ? roundUp(most) : 1;
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
