/**
 * The table of workers: one row for each, changed in place. In prefill/decode mode there is a group for each role.
 *
 * Rows do not move under a hand: as long as the pointer or the focus is in the body, their order stays.
 */

import { COLUMNS } from "./columns.js";
import { arrange, at, make, mark, write } from "./dom.js";
import { NAMES, OFFERED } from "./orders.js";
import { address, count, some } from "./text.js";

const ROLES = ["mixed", "prefill", "decode"];
/** Cells that are right in every row at any time, as they are searched for. */
const SOUGHT = new Set(["worker", "state"]);
/** Of the rows that are out of sight one in so many is brought up to date in a turn: only what is seen costs each time. */
const TURNS = 5;

class Row {
  #cells;
  #actions = make("td", { role: "cell", class: "actions" });
  #offered = "";
  visible = true;

  constructor(url) {
    this.url = url;
    this.#cells = COLUMNS.map(({ name, title, cell, head, figures }) => {
      const made = cell();
      const node = make(
        head ? "th" : "td",
        { role: head ? "rowheader" : "cell", scope: head ? "row" : null, class: `${name}${figures ? " figures" : ""}`, "data-title": title },
        ...made.nodes,
      );
      return { ...made, name, node };
    });
    this.node = make("tr", { role: "row", "data-url": url }, ...this.#cells.map((cell) => cell.node), this.#actions);
  }

  /** Takes what is said of the worker now; unless it is `due`, a row out of sight shows no more of it than is sought. */
  update(data, context, due, onOrder) {
    this.data = data;
    this.context = context;
    this.isSlow = context.slow.has(data.url);
    for (const cell of this.#cells) {
      cell.keep?.(data);
      if (this.visible || due || SOUGHT.has(cell.name)) cell.show(data, context);
    }
    mark(this.node, "data-state", data.state);
    mark(this.node, "data-slow", this.isSlow);
    this.#offer(data.state, onOrder);
  }

  /** Comes into sight. */
  show() {
    for (const cell of this.#cells) cell.show(this.data, this.context);
  }

  #offer(state, onOrder) {
    if (this.#offered === state) return;
    this.#offered = state;
    const held = this.#actions.contains(document.activeElement);
    this.#actions.replaceChildren(
      ...OFFERED[state].map((verb) => {
        const button = make("button", { type: "button", class: "small", "data-verb": verb, "aria-label": `${NAMES[verb]} ${address(this.url)}` }, NAMES[verb]);
        button.addEventListener("click", () => onOrder(verb, this.data));
        return button;
      }),
    );
    if (held) this.focus();
  }

  /** Puts the focus where the next order is given. */
  focus() {
    this.#actions.querySelector("button")?.focus();
  }

  fits(words) {
    const { url, host, role, state, models } = this.data;
    const text = [url, host, role, state, ...(models ?? []), this.isSlow ? "slow" : ""].join(" ").toLowerCase();
    return words.every((word) => text.includes(word));
  }
}

class Group {
  #title = make("th", { role: "rowheader", scope: "rowgroup", colspan: COLUMNS.length + 1 });
  #head = make("tr", { role: "row", class: "group" }, this.#title);

  constructor(role) {
    this.role = role;
    this.node = make("tbody", { role: "rowgroup", "data-role": role });
  }

  /** Shows these rows; `named` says whether the group has a title. */
  show(rows, named) {
    if (named) {
      const up = rows.filter((row) => row.data.state === "up").length;
      write(this.#title, `${this.role} · ${some(rows.length, "worker")}, ${count(up)} up`);
    }
    arrange(this.node, [...(named ? [this.#head] : []), ...rows.map((row) => row.node)]);
    this.node.hidden = !rows.length;
  }
}

export class Workers {
  #rows = new Map();
  #groups = ROLES.map((role) => new Group(role));
  #sort = { column: COLUMNS[0], falling: false };
  #words = [];
  #heads = new Map();
  #table;
  #onOrder;
  #watch;
  #pd = false;
  #turn = 0;

  /** `onOrder(verb, row)` is called when an order is asked for. */
  constructor(onOrder) {
    this.#onOrder = onOrder;
    const cells = COLUMNS.map((column) => this.#head(column));
    this.#table = make(
      "table",
      { role: "table", "aria-labelledby": "workers-title" },
      make("thead", { role: "rowgroup" }, make("tr", { role: "row" }, ...cells, make("th", { role: "columnheader", class: "actions" }, make("span", { class: "unseen" }, "Orders")))),
      ...this.#groups.map((group) => group.node),
    );
    at("workers").append(this.#table);
    this.#watch = new IntersectionObserver((seen) => seen.forEach((each) => this.#seen(each)), { rootMargin: "200px" });
    this.#sorter();
    at("filter").addEventListener("input", (event) => {
      this.#words = event.target.value.toLowerCase().split(/\s+/).filter(Boolean);
      this.#arrange(true);
    });
    this.#showSort();
  }

  #head(column) {
    const button = make("button", { type: "button", title: column.hint ?? null }, column.title);
    button.addEventListener("click", () => {
      const again = this.#sort.column === column;
      this.#sortBy(column, again ? !this.#sort.falling : Boolean(column.falling));
    });
    const node = make("th", { role: "columnheader", scope: "col", class: `${column.name}${column.figures ? " figures" : ""}` }, button);
    this.#heads.set(column, node);
    return node;
  }

  #sorter() {
    const sorter = at("sorter");
    sorter.append(...COLUMNS.map((column, index) => make("option", { value: index }, column.title)));
    sorter.addEventListener("change", () => {
      const column = COLUMNS[Number(sorter.value)];
      this.#sortBy(column, Boolean(column.falling));
    });
  }

  #sortBy(column, falling) {
    this.#sort = { column, falling };
    this.#showSort();
    this.#arrange(true);
  }

  #showSort() {
    const { column, falling } = this.#sort;
    for (const [each, node] of this.#heads) {
      mark(node, "aria-sort", each === column ? (falling ? "descending" : "ascending") : null);
    }
    at("sorter").value = String(COLUMNS.indexOf(column));
  }

  #seen({ target, isIntersecting }) {
    const row = this.#rows.get(target.dataset.url);
    if (!row) return;
    row.visible = isIntersecting;
    if (isIntersecting) row.show();
  }

  /** Forgets everybody. */
  clear() {
    this.#watch.disconnect();
    this.#rows.clear();
    this.#arrange(true);
  }

  update(status, slow) {
    const context = { now: status.now, slow };
    const gone = new Set(this.#rows.keys());
    this.#turn = (this.#turn + 1) % TURNS;
    let other = this.#pd !== status.pd;
    this.#pd = status.pd;
    for (const [index, data] of status.workers.entries()) {
      gone.delete(data.url);
      let row = this.#rows.get(data.url);
      if (!row) {
        row = new Row(data.url);
        this.#rows.set(data.url, row);
        this.#watch.observe(row.node);
        other = true;
      }
      other ||= row.data?.role !== data.role;
      row.update(data, context, index % TURNS === this.#turn, this.#onOrder);
    }
    for (const url of gone) {
      this.#watch.unobserve(this.#rows.get(url).node);
      this.#rows.delete(url);
      other = true;
    }
    this.#arrange(other);
  }

  /** Puts the rows in order; unless it is `due`, only where nobody is about to use one. */
  #arrange(due) {
    const bodies = this.#groups.map((group) => group.node);
    if (!due && bodies.some((body) => body.matches(":hover") || body.contains(document.activeElement))) return;
    const all = [...this.#rows.values()];
    const fitting = all.filter((row) => row.fits(this.#words)).sort((one, other) => this.#compare(one, other));
    const held = document.activeElement;
    if (this.#pd) {
      for (const group of this.#groups) group.show(fitting.filter((row) => row.data.role === group.role), true);
    } else {
      this.#groups.forEach((group, index) => group.show(index ? [] : fitting, false));
    }
    // An element that is moved loses the focus.
    if (held !== document.activeElement && this.#table.contains(held)) held.focus();
    write(at("workers-count"), fitting.length === all.length ? count(all.length) : `${count(fitting.length)} of ${count(all.length)}`);
  }

  #compare(one, other) {
    const { column, falling } = this.#sort;
    const [left, right] = [column.by(one.data), column.by(other.data)];
    // What is not known comes last, either way.
    if (left == null || right == null) return (left == null) - (right == null) || byUrl(one, other);
    const found = column.head ? byUrl(one, other) : left - right;
    return (falling ? -found : found) || byUrl(one, other);
  }

  /** Puts the focus on a worker's orders, or near where it was. */
  focus(url) {
    const row = this.#rows.get(url);
    if (row?.node.isConnected) row.focus();
    else at("filter").focus();
  }
}

const byUrl = (one, other) => one.url.localeCompare(other.url, "en", { numeric: true });
