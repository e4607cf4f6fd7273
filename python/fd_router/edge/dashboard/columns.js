/**
 * The columns of the table of workers. Each says what it is called, by what it sorts, and makes its cell: a list of nodes,
 * and `show`, which shows a row in them. `keep` takes each row, also those that are not shown.
 *
 * `context` of that function: the router's clock in `now`, and `slow`, see peers.js.
 */

import { draw, make, mark, write } from "./dom.js";
import { Spark } from "./spark.js";
import { NONE, address, count, percent, short, some, span, times, took } from "./text.js";

/** In the order of how much they want to be seen. */
const STATES = ["ejected", "probation", "unready", "draining", "drained", "up"];

/** Pixels of a gauge that is full. */
const GAUGE = 36;
const GAUGE_HEIGHT = 5;

const two = (main = {}, more = {}) => [make("span", { class: "main", ...main }), make("span", { class: "sub", ...more })];

export const total = (errors) => Object.values(errors).reduce((sum, each) => sum + each, 0);

/** How full a cache is; null where that is not known, as of who is chosen by a policy that does not look at prefixes. */
const fill = (row) => (row.cache_tokens && (row.held_tokens || row.hit) ? row.held_tokens / row.cache_tokens : null);

function worker() {
  const [main, sub] = two({ class: "main mono" });
  const role = make("span", { class: "role" });
  const more = make("span");
  sub.append(role, more);
  const show = (row) => {
    write(main, address(row.url));
    mark(main, "title", row.url);
    write(role, row.role);
    write(more, [row.host, row.version, row.models?.join(", ")].filter(Boolean).join(" · "));
    mark(more, "title", more.textContent || null);
  };
  return { nodes: [main, sub], show };
}

function state() {
  const use = draw("use");
  const word = make("span");
  const main = make("span", { class: "main state" }, draw("svg", { class: "glyph", "aria-hidden": "true", width: 12, height: 12 }, use), word);
  const why = make("span", { class: "sub why" });
  const show = (row) => {
    mark(use, "href", `#state-${row.state}`);
    mark(main, "data-state", row.state);
    write(word, row.state);
    write(why, row.why);
    mark(why, "title", row.why);
  };
  return { nodes: [main, why], show };
}

function running() {
  const number = make("span");
  const spark = new Spark(4);
  const show = (row) => {
    write(number, count(row.running));
    spark.show();
  };
  return { nodes: [make("span", { class: "main drawn" }, spark.node, number)], show, keep: (row) => spark.push(row.running) };
}

function cache() {
  const number = make("span");
  const sub = make("span", { class: "sub" });
  const bar = draw("rect", { class: "held", height: GAUGE_HEIGHT, width: 0, rx: 2 });
  const whole = draw("rect", { width: GAUGE, height: GAUGE_HEIGHT, rx: 2 });
  const gauge = draw("svg", { class: "gauge", width: GAUGE, height: GAUGE_HEIGHT, "aria-hidden": "true" }, whole, bar);
  const show = (row) => {
    const share = fill(row);
    write(number, percent(share));
    mark(bar, "width", Math.round(GAUGE * Math.min(1, share ?? 0)));
    mark(gauge, "class", share === null ? "gauge none" : "gauge");
    write(sub, row.held_tokens ? `${short(row.held_tokens)} ${row.cache_tokens ? `of ${short(row.cache_tokens)}` : "tokens"}` : "");
  };
  return { nodes: [make("span", { class: "main drawn" }, gauge, number), sub], show };
}

function hit() {
  const [main, sub] = two();
  const show = (row) => {
    write(main, percent(row.hit?.true));
    write(sub, row.hit ? `${percent(row.hit.predicted)} pred.` : "");
  };
  return { nodes: [main, sub], show };
}

function firstByte() {
  const main = make("span", { class: "main" });
  const factor = make("span", { class: "factor" });
  const show = (row, { slow }) => {
    const found = slow.get(row.url);
    write(main, took(row.first_byte?.p50));
    write(factor, found ? `${times(found.factor)} slow` : "");
    mark(factor, "title", found ? `Its peers' median is ${took(found.median)}` : null);
  };
  return { nodes: [main, factor], show };
}

function tail() {
  const main = make("span", { class: "main" });
  return { nodes: [main], show: (row) => write(main, took(row.first_byte?.p95)) };
}

function pending() {
  const [main, sub] = two();
  const show = (row) => {
    write(main, short(row.pending_tokens));
    write(sub, row.pending_tokens ? "tokens" : "");
  };
  return { nodes: [main, sub], show };
}

function errors() {
  const [main, sub] = two();
  const show = (row) => {
    const kinds = Object.entries(row.errors).sort((one, other) => other[1] - one[1]);
    write(main, count(total(row.errors)));
    mark(main, "data-tone", kinds.length ? "warn" : null);
    write(sub, kinds.map(([kind, number]) => `${kind.replaceAll("_", " ")} ×${count(number)}`).join(", "));
    mark(sub, "title", kinds.length ? `${sub.textContent}; of ${some(row.answers, "answer")}` : null);
  };
  return { nodes: [main, sub], show };
}

function probe() {
  const [main, sub] = two();
  const show = (row, { now }) => {
    const last = row.last_probe;
    write(main, last ? `${span(now - last.at)} ago` : NONE);
    mark(main, "data-tone", last && !last.well ? "bad" : null);
    write(sub, last ? (last.well ? took(last.seconds) : `failed: ${last.error}`) : "");
    mark(sub, "title", last && !last.well ? last.error : null);
  };
  return { nodes: [main, sub], show };
}

function since() {
  const main = make("span", { class: "main" });
  return { nodes: [main], show: (row, { now }) => write(main, span(now - row.since)) };
}

export const COLUMNS = [
  { name: "worker", title: "Worker", by: (row) => row.url, cell: worker, head: true },
  { name: "state", title: "State", by: (row) => STATES.indexOf(row.state), cell: state },
  { name: "since", title: "For", hint: "in this state", by: (row) => row.since, cell: since, figures: true },
  { name: "running", title: "Running", hint: "requests under way, and the last minute of it", by: (row) => row.running, cell: running, figures: true, falling: true },
  { name: "pending", title: "Pending", hint: "prompt tokens of requests without a first byte", by: (row) => row.pending_tokens, cell: pending, figures: true, falling: true },
  { name: "first", title: "First byte", hint: "p50 of the last 128 good answers", by: (row) => row.first_byte?.p50, cell: firstByte, figures: true, falling: true },
  { name: "tail", title: "p95", hint: "p95 of their first bytes", by: (row) => row.first_byte?.p95, cell: tail, figures: true, falling: true },
  { name: "hit", title: "Hit", hint: "share of prompt tokens that was cached; predicted", by: (row) => row.hit?.true, cell: hit, figures: true, falling: true },
  { name: "cache", title: "Cache", hint: "what the prefix cache is thought to hold, of its capacity as told or learned", by: fill, cell: cache, figures: true, falling: true },
  { name: "errors", title: "Errors", hint: "since the start, by kind or status", by: (row) => total(row.errors), cell: errors, figures: true, falling: true },
  { name: "probe", title: "Last probe", by: (row) => row.last_probe?.at, cell: probe, figures: true },
];
