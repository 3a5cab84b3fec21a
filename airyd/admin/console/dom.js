// Elements: all that comes from airyd becomes text nodes, never HTML.

/** Make an element; its properties may come first, "on…" for listeners; children may be missing. */
export function h(tag, ...children) {
  const element = document.createElement(tag);
  const properties = children[0]?.constructor === Object ? children.shift() : {};
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== false && value != null) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child != null && child !== false && child !== ""));
  return element;
}

/** Show a text or an element in another one, unless it is there already: then it keeps the focus. */
export function fill(element, value) {
  const next = value instanceof Node ? value : document.createTextNode(value ?? "–");
  if (element.childNodes.length !== 1 || !element.firstChild.isEqualNode(next)) element.replaceChildren(next);
}

export const notice = () => h("p", { role: "status", hidden: true });
/** Show a text in a notice, or hide it without one. */
export function notify(element, text, kind = "bad") {
  element.hidden = !text;
  element.className = `notice ${kind}`;
  fill(element, text ?? "");
}

export const link = (hash, text) => h("a", { href: hash }, text);
export const destinationLink = (name) => link(`#/destinations/${encodeURIComponent(name)}`, name);
export const connectionLink = (id) => link(`#/connections/${encodeURIComponent(id)}`, id);
export const state = (name, kind = name) => h("span", { class: `state ${kind}` }, name);

/** Show names and values in a dl. */
export function showFacts(list, facts) {
  facts.forEach(([name, value], index) => {
    const row = list.children[index] ?? list.appendChild(h("div", h("dt"), h("dd")));
    fill(row.firstChild, name);
    fill(row.lastChild, value);
  });
}

export const column = (title, kind, cell) => ({ title, kind, cell: cell.call ? cell : (row) => row[cell] });
/** A column of a field, right-aligned. */
export const figure = (title, name, format) => column(title, "number", (row) => format(row[name]));

/** A table whose rows are updated in place. */
export class Table {
  constructor(caption, columns, emptyText) {
    const newRow = () => h("tr", columns.map(({ kind }) => h("td", { class: kind })));
    Object.assign(this, { columns, emptyText, newRow, rows: new Map(), body: h("tbody") });
    this.empty = h("p", { class: "empty" }, "Loading…");
    const head = columns.map(({ title, kind }) => h("th", { scope: "col", class: kind }, title));
    const table = h("table", h("caption", caption), h("thead", h("tr", head)), this.body);
    const scroller = h("div", { class: "scroller", tabindex: 0, role: "region", "aria-label": caption }, table);
    this.element = h("div", scroller, this.empty);
  }

  update(values, keyOf = (value) => value.id ?? value.name) {
    const before = this.rows;
    this.rows = new Map(values.map((value) => [keyOf(value), before.get(keyOf(value)) ?? this.newRow()]));
    values.forEach((value, index) => {
      const row = this.rows.get(keyOf(value));
      this.columns.forEach(({ cell }, place) => fill(row.cells[place], cell(value)));
      if (this.body.rows[index] !== row) this.body.insertBefore(row, this.body.rows[index] ?? null);
    });
    for (const [key, row] of before) if (!this.rows.has(key)) row.remove();
    this.empty.hidden = values.length > 0;
    fill(this.empty, this.emptyText);
  }
}

export const input = (name, more = {}) => h("input", { name, autocomplete: "off", ...more });
export const field = (label, control) => h("label", h("span", label), control);
export const select = (name, options, value) =>
  h("select", { name }, options.map(([key, text = key]) => h("option", { value: key, selected: key === value }, text)));

/** A form; submit gets its fields that are not empty. */
export function form(submit, ...children) {
  const onsubmit = (event) => {
    event.preventDefault();
    submit(Object.fromEntries([...new FormData(event.target)].filter(([, value]) => value)));
  };
  return h("form", { onsubmit }, ...children);
}
