// A line chart of the last five minutes. Where a figure is missing, the line has a gap.
import { fill, h } from "./dom.js";
import { SPAN } from "./feed.js";
import { time } from "./format.js";

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
  /** The samples' figure of this name, as format writes it. */
  constructor(title, name, format) {
    Object.assign(this, { title, name, format, samples: [], pointed: null });
    this.line = svg("path", { class: "line" });
    this.mark = svg("path", { class: "mark" });
    const grid = svg("path", { class: "grid", d: `M0 ${HEIGHT / 2}H${WIDTH}` });
    const shape = { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" };
    this.picture = svg("svg", shape, grid, this.line, this.mark);
    [this.value, this.when, this.top] = [h("output"), h("span", { class: "when" }), h("span", { class: "top" })];
    this.element = h("figure", {}, h("figcaption", {}, title, this.when), this.value, h("div", {}, this.top, this.picture));
    this.picture.addEventListener("pointermove", ({ offsetX }) => this.point(offsetX / this.picture.clientWidth));
    this.picture.addEventListener("pointerleave", () => this.point(null));
  }

  point(share) {
    this.pointed = share;
    this.draw(this.samples);
  }

  draw(samples) {
    this.samples = samples;
    const end = samples.at(-1)?.time ?? 0;
    const values = samples.map((each) => each[this.name]).filter((value) => value != null);
    const top = Math.max(...values) > 0 ? roundUp(Math.max(...values)) : 1;
    const x = (sample) => (WIDTH * (1 - (end - sample.time) / SPAN)).toFixed(1);
    let [path, isOpen] = ["", false];
    for (const sample of samples) {
      const value = sample[this.name];
      if (value != null) path += `${isOpen ? "L" : "M"}${x(sample)} ${(HEIGHT - (HEIGHT - 2) * (value / top) - 1).toFixed(1)}`;
      isOpen = value != null;
    }
    this.line.setAttribute("d", path);
    const at = end - SPAN * (1 - this.pointed);
    const shown = this.pointed == null ? samples.at(-1) : samples.find((each) => each.time >= at);
    this.mark.setAttribute("d", this.pointed == null || !shown ? "" : `M${x(shown)} 0V${HEIGHT}`);
    fill(this.value, this.format(shown?.[this.name]));
    fill(this.when, this.pointed == null || !shown ? "" : time(shown.time));
    fill(this.top, values.length ? this.format(top) : "");
    const range = values.length ? `${this.format(Math.min(...values))} to ${this.format(Math.max(...values))}` : "no figures";
    this.picture.setAttribute("aria-label", `${this.title}, last five minutes: ${range}`);
  }
}
