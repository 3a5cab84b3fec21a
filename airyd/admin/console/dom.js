// Elements: all that comes from airyd becomes text nodes, never HTML.

/** Make an element; properties that begin with "on" are listeners, and children may be text or missing. */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== false && value != null) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child != null && child !== false));
  return element;
}

/** Show a text or an element in another one; what is there already keeps the focus. */
export function fill(element, value) {
  const next = value instanceof Node ? value : document.createTextNode(value ?? "–");
  if (element.childNodes.length !== 1 || !element.firstChild.isEqualNode(next)) element.replaceChildren(next);
}

/** Show a notice, or hide it without a text. */
export function notify(element, text, kind = "bad") {
  element.hidden = !text;
  element.className = `notice ${kind}`;
  fill(element, text ?? "");
}

export const link = (hash, text) => h("a", { href: hash }, text);
export const destinationLink = (name) => link(`#/destinations/${encodeURIComponent(name)}`, name);
export const connectionLink = (id) => link(`#/connections/${encodeURIComponent(id)}`, id);
export const state = (name) => h("span", { class: `state ${name}` }, name);

/** A table whose rows are updated in place. Columns have a title, a function for the cell, and maybe a class. */
export class Table {
  constructor(caption, columns, empty) {
    this.columns = columns;
    this.rows = new Map();
    this.body = h("tbody");
    this.empty = h("p", { class: "empty" }, "Loading…");
    this.emptyText = empty;
    const head = columns.map(({ title, kind }) => h("th", { scope: "col", class: kind }, title));
    const table = h("table", {}, h("caption", {}, caption), h("thead", {}, h("tr", {}, head)), this.body);
    const scroller = h("div", { class: "scroller", tabindex: "0", role: "region", "aria-label": caption }, table);
    this.element = h("div", {}, scroller, this.empty);
  }

  update(values, keyOf = (value) => value.id ?? value.name) {
    const before = this.rows;
    this.rows = new Map();
    values.forEach((value, index) => {
      const key = keyOf(value, index);
      const row = before.get(key) ?? h("tr", {}, this.columns.map(({ kind }) => h("td", { class: kind })));
      before.delete(key);
      this.rows.set(key, row);
      this.columns.forEach(({ cell }, column) => fill(row.cells[column], cell(value)));
      if (this.body.rows[index] !== row) this.body.insertBefore(row, this.body.rows[index] ?? null);
    });
    for (const row of before.values()) row.remove();
    this.empty.hidden = values.length > 0;
    fill(this.empty, this.emptyText);
  }
}

/** A list of names and values. */
export class Facts {
  constructor() {
    this.element = h("dl");
  }

  update(values) {
    const { children } = this.element;
    while (children.length < values.length) this.element.append(h("div", {}, h("dt"), h("dd")));
    values.forEach(([name, value], index) => {
      fill(children[index].firstChild, name);
      fill(children[index].lastChild, value);
    });
  }
}

export const input = (name, value = "", more = {}) => h("input", { name, value, autocomplete: "off", ...more });
export const field = (label, control) => h("label", {}, h("span", {}, label), control);
export const select = (name, options, value = "") =>
  h("select", { name }, options.map(([key, text]) => h("option", { value: key, selected: key === value }, text)));

/** A form; submit gets its fields that are not empty. */
export function form(submit, ...children) {
  return h("form", {
    onsubmit(event) {
      event.preventDefault();
      submit(Object.fromEntries([...new FormData(event.target)].filter(([, value]) => value)));
    },
  }, ...children);
}
