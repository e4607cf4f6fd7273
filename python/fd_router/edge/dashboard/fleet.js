/** The fleet at a glance: a tile for each figure, and what somebody should look at. */

import { arrange, at, draw, make, mark, write } from "./dom.js";
import { Meter } from "./meter.js";
import { median } from "./peers.js";
import { Spark } from "./spark.js";
import { NONE, address, count, percent, rate, short, some, times, took } from "./text.js";

/** Rows of what should be looked at; the table has the others. */
const SHOWN = 6;

class Tile {
  #value = make("span", { class: "value" });
  #unit = make("span", { class: "unit" });
  #more = make("p", { class: "more" });

  constructor(title, drawing) {
    this.drawing = drawing;
    this.node = make(
      "div",
      { class: "tile" },
      make("h2", {}, title),
      make("p", { class: "figure" }, this.#value, this.#unit),
      drawing instanceof Spark ? drawing.node : drawing,
      this.#more,
    );
  }

  show(value, unit, more, tone = null) {
    write(this.#value, value);
    write(this.#unit, value === NONE ? "" : unit);
    write(this.#more, more);
    mark(this.node, "data-tone", tone);
  }
}

export class Fleet {
  #answers = new Meter();
  #failed = new Meter();
  #shares = draw("svg", { class: "shares", viewBox: "0 0 100 6", preserveAspectRatio: "none", "aria-hidden": "true" });
  #tiles = {
    requests: new Tile("Answers", new Spark()),
    errors: new Tile("Failed answers", new Spark()),
    running: new Tile("In the router", new Spark()),
    first: new Tile("First byte", new Spark(0.01)),
    hit: new Tile("Prefix cache hit", new Spark()),
    workers: new Tile("Workers up", this.#shares),
  };
  #items = new Map();

  constructor() {
    at("tiles").append(...Object.values(this.#tiles).map((tile) => tile.node));
  }

  /** Begins to count anew: the router is another process. */
  restart() {
    this.#answers.clear();
    this.#failed.clear();
    for (const { drawing } of Object.values(this.#tiles)) if (drawing instanceof Spark) drawing.clear();
  }

  /** Forgets everything. */
  clear() {
    this.restart();
    this.#items.clear();
    at("attention-list").replaceChildren();
    for (const tile of Object.values(this.#tiles)) tile.show(NONE, "", "");
  }

  update(status, slow) {
    this.#traffic(status);
    this.#firstByte(status.workers);
    this.#cache(status);
    this.#states(status);
    this.#attention(status, slow);
  }

  #traffic({ requests, rejects, now }) {
    const { requests: answered, errors, running } = this.#tiles;
    const answers = this.#answers.take(requests.answers, now) ?? requests.answers_per_second;
    const failed = this.#failed.take(requests.failed, now) ?? requests.failed_per_second;
    answered.show(rate(answers), "/s", `${count(requests.answers)} since the start`);
    push(answered, answers);
    const refused = Object.values(rejects).reduce((sum, each) => sum + each, 0);
    errors.show(
      rate(failed),
      "/s",
      `${count(requests.failed)} of workers · ${count(refused)} of the router`,
      failed > 0 ? "bad" : null,
    );
    push(errors, failed);
    const limit = requests.limit === null ? "no limit" : `limit ${count(requests.limit)}`;
    running.show(count(requests.served), "", `${count(requests.waiting)} waiting · ${limit}`, requests.waiting ? "warn" : null);
    push(running, requests.served + requests.waiting);
  }

  #firstByte(rows) {
    const measured = rows.filter((row) => row.first_byte);
    const half = median(measured.map((row) => row.first_byte.p50));
    const tail = median(measured.map((row) => row.first_byte.p95));
    const [value, unit] = took(half).split(" ");
    this.#tiles.first.show(value, ` ${unit}`, half === null ? "no answer yet" : `p95 ${took(tail)} · median worker`);
    push(this.#tiles.first, half);
  }

  #cache({ hit, tokens, tree }) {
    const recent = tokens.prompt_per_second > 0 ? tokens.cached_per_second / tokens.prompt_per_second : null;
    const share = recent ?? hit?.true ?? null;
    const [value, unit] = percent(share).split(" ");
    const more = hit ? `${percent(hit.predicted)} predicted · ${short(tokens.prompt_per_second)} tokens/s` : "no answer told";
    this.#tiles.hit.show(value, ` ${unit}`, more);
    mark(this.#tiles.hit.node, "title", `The index of prefixes has ${count(tree.blocks)} blocks`);
    push(this.#tiles.hit, recent);
  }

  #states({ states, workers }) {
    const others = Object.entries(states).filter(([state, number]) => number && state !== "up");
    const lost = states.ejected + states.probation;
    this.#tiles.workers.show(
      count(states.up),
      ` of ${count(workers.length)}`,
      others.map(([state, number]) => `${number} ${state}`).join(" · ") || (workers.length ? "all of them" : "none is registered"),
      lost || !states.up ? "bad" : others.length ? "warn" : null,
    );
    let x = 0;
    const parts = Object.entries(states).filter(([, number]) => number);
    const drawn = JSON.stringify(parts);
    if (this.#shares.dataset.drawn === drawn) return;
    this.#shares.dataset.drawn = drawn;
    this.#shares.replaceChildren(
      ...parts.map(([state, number]) => {
        const width = (100 * number) / Math.max(1, workers.length);
        const part = draw("rect", { x, y: 0, width: Math.max(0.5, width - 0.6), height: 6, class: `share ${state}` });
        x += width;
        return part;
      }),
    );
  }

  #attention(status, slow) {
    const wanted = troubles(status, slow);
    const shown = wanted.slice(0, SHOWN);
    if (wanted.length > SHOWN) {
      shown.push({ id: "more", tone: "dim", what: `${wanted.length - SHOWN} more`, why: "see the table" });
    }
    for (const id of this.#items.keys()) if (!shown.some((item) => item.id === id)) this.#items.delete(id);
    for (const { id, tone, what, why } of shown) {
      if (!this.#items.has(id)) {
        const parts = { what: make("strong", { class: "mono" }), why: make("span") };
        this.#items.set(id, { ...parts, node: make("li", {}, parts.what, " ", parts.why) });
      }
      const item = this.#items.get(id);
      write(item.what, what);
      write(item.why, why);
      mark(item.node, "data-tone", tone);
    }
    arrange(at("attention-list"), shown.map((item) => this.#items.get(item.id).node));
    at("attention").hidden = !shown.length;
  }
}

function push(tile, value) {
  tile.drawing.push(value);
  tile.drawing.show();
}

/** What should be looked at, the worst first: `{id, tone, what, why}`. */
export function troubles(status, slow) {
  const found = [];
  if (status.not_ready !== null) {
    found.push({ id: "ready", tone: "bad", what: "not ready", why: status.not_ready });
  }
  for (const row of status.workers) {
    const what = address(row.url);
    if (["ejected", "probation", "unready"].includes(row.state)) {
      const tone = row.state === "unready" ? "warn" : "bad";
      found.push({ id: row.url, tone, what, why: `${row.state}: ${row.why}` });
    } else if (slow.has(row.url)) {
      const { factor, median: middle } = slow.get(row.url);
      const why = `slow: first byte after ${took(row.first_byte.p50)}, ${times(factor)} the ${took(middle)} of its peers`;
      found.push({ id: row.url, tone: "warn", what, why });
    }
  }
  const rank = { bad: 0, warn: 1 };
  return found.sort((one, other) => rank[one.tone] - rank[other.tone]);
}

/** What the title of the window says of it, in a few words; empty where all is well. */
export function verdict(status, slow) {
  const lost = status.states.ejected + status.states.probation;
  if (status.not_ready !== null) return "not ready";
  if (lost) return `${some(lost, "worker")} out`;
  return slow.size ? `${some(slow.size, "worker")} slow` : "";
}
