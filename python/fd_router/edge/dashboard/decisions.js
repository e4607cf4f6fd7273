/**
 * The last decisions: an entry for each request, with its attempts and, of a pair, both legs; behind it the terms of each.
 *
 * Entries do not move under a hand: as long as the pointer or the focus is here, or one is open, newer ones are counted
 * and wait for a click.
 */

import { Refusal, ask } from "./api.js";
import { arrange, at, draw, make, mark, write } from "./dom.js";
import { NONE, address, count, percent, short, some, span, took } from "./text.js";

/** Decisions that are asked for. */
const LAST = 40;
/** Milliseconds until it is asked again of a router that keeps none. */
const AGAIN = 30_000;

const HEADS = ["Request", "When", "Sent to", "Decided by", "Hit", "First byte", "Outcome"];
const FIGURES = new Set(["When", "Hit", "First byte"]);
const BAD = new Set(["broken", "unanswered", "no_worker"]);

class Entry {
  #toggle = make("button", { type: "button", class: "toggle", "aria-expanded": "false" });
  #cells = HEADS.map((head, index) => make(index ? "td" : "th", { role: index ? "cell" : "rowheader", scope: index ? null : "row", "data-title": head, class: FIGURES.has(head) ? "figures" : null }));
  #detail = make("td", { role: "cell", colspan: HEADS.length });
  #drawn = "";

  constructor(id, onToggle) {
    this.id = id;
    this.open = false;
    this.row = make("tr", { role: "row", class: "entry" }, ...this.#cells);
    this.detail = make("tr", { role: "row", class: "detail" }, this.#detail);
    this.#toggle.addEventListener("click", () => {
      this.open = !this.open;
      mark(this.#toggle, "aria-expanded", String(this.open));
      onToggle();
    });
    this.#cells[0].append(this.#toggle);
  }

  get nodes() {
    return this.open ? [this.row, this.detail] : [this.row];
  }

  /** Shows the decisions of the request, the first attempt first. */
  update(decisions, now) {
    const last = decisions[decisions.length - 1];
    write(this.#cells[1], span(now - decisions[0].at));
    const drawn = JSON.stringify(decisions);
    if (this.#drawn === drawn) return;
    this.#drawn = drawn;
    const legs = decisions.filter((each) => each.attempt === last.attempt);
    this.#toggle.replaceChildren(make("span", { class: "mono" }, last.request_id), make("span", { class: "sub" }, `${last.path}${last.stream ? " · stream" : ""}`));
    this.#cells[2].replaceChildren(way(legs), ...attempts(last.attempt));
    this.#cells[3].replaceChildren(...decided(legs));
    this.#cells[4].replaceChildren(...hits(legs));
    this.#cells[5].replaceChildren(make("span", { class: "main" }, took(last.first_byte_secs)));
    this.#cells[6].replaceChildren(...outcome(last));
    mark(this.row, "data-tone", BAD.has(last.outcome) || (last.status ?? 0) >= 500 ? "bad" : null);
    this.#detail.replaceChildren(...decisions.map(detail));
  }
}

/** Who serves the request: one worker, or a pair as such. */
function way(legs) {
  const steps = legs.map((leg) => make("span", { class: "leg", "data-role": leg.role }, ...(leg.role === "mixed" ? [] : [make("abbr", { class: "role", title: leg.role }, leg.role[0].toUpperCase())]), make("span", { class: "mono" }, leg.worker ? address(leg.worker) : "nobody")));
  if (legs.length < 2) return make("span", { class: "way" }, ...steps);
  const arrow = draw("svg", { class: "arrow", viewBox: "0 0 16 8", width: 16, height: 8, role: "img", "aria-label": "hands over to" }, draw("path", { d: "M1 4h12M10 1l3.5 3-3.5 3", fill: "none", stroke: "currentColor", "stroke-width": "1.4" }));
  return make("span", { class: "way pair" }, steps[0], arrow, ...steps.slice(1));
}

const attempts = (number) => (number > 1 ? [make("span", { class: "sub" }, `attempt ${number}`)] : []);

function decided(legs) {
  const names = [...new Set(legs.map((leg) => leg.decided_by))].join(" · ");
  const fallback = legs.find((leg) => leg.fallback)?.fallback;
  return [make("span", { class: "main" }, names), ...(fallback ? [make("span", { class: "sub" }, fallback)] : [])];
}

function hits(legs) {
  const leg = legs.find((each) => each.true_hit !== null) ?? legs[0];
  const told = leg.true_hit ?? null;
  const more = leg.predicted_hit === null ? "" : `${percent(leg.predicted_hit)} pred.`;
  return [make("span", { class: "main" }, percent(told)), make("span", { class: "sub" }, more)];
}

function outcome(decision) {
  const faulty = decision.fault && decision.fault !== "none" && decision.fault !== "unknown";
  return [
    make("span", { class: "main" }, `${decision.outcome.replaceAll("_", " ")}${decision.status === null ? "" : ` ${decision.status}`}`),
    make("span", { class: "sub" }, faulty ? `hit lost by ${decision.fault}` : ""),
  ];
}

/** One decision with its terms. */
function detail(decision) {
  const { attempt, role, best, best_hit, worker } = decision;
  const facts = [
    ["Candidates", count(decision.candidates)],
    ["Margin", decision.margin === null ? NONE : percent(decision.margin)],
    ["Ties", count(decision.ties)],
    ["Blocks", count(decision.blocks)],
    ["Took", took(decision.duration_secs)],
    ["Left out", decision.excluded.map(address).join(", ")],
    ["Failed by", decision.lost ?? decision.error],
  ].filter(([, value]) => value);
  const rows = [...best];
  if (best_hit && !rows.some((each) => each.url === best_hit.url)) rows.push(best_hit);
  return make(
    "section",
    { class: "decision", "data-role": role },
    make("h3", {}, `${role}, attempt ${attempt}`),
    make("p", {}, decision.why),
    make("dl", { class: "facts" }, ...facts.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value)))),
    ...(rows.length ? [terms(rows, worker, best_hit?.url)] : []),
  );
}

function terms(rows, chosen, bestHit) {
  const heads = ["Candidate", "Cost", "Running", "Pending", "Uncached", "Hit"];
  const line = (each) => {
    const told = [each.url === chosen ? "chosen" : "", each.url === bestHit ? "best hit" : ""].filter(Boolean).join(", ");
    const cost = each.cost === null ? NONE : each.cost < 100 ? each.cost.toPrecision(3) : short(each.cost);
    return make(
      "tr",
      { "data-chosen": each.url === chosen ? "" : null },
      make("th", { scope: "row" }, make("span", { class: "mono" }, address(each.url)), " ", make("span", { class: "sub" }, told)),
      ...[cost, count(each.running), short(each.pending), short(each.uncached), percent(each.hit)].map((text) => make("td", { class: "figures" }, text)),
    );
  };
  return make(
    "table",
    { class: "terms" },
    make("thead", {}, make("tr", {}, ...heads.map((head, index) => make("th", { scope: "col", class: index ? "figures" : null }, head)))),
    make("tbody", {}, ...rows.map(line)),
  );
}

/** By request, newest first; the decisions of each in the order in which they were made. */
export function grouped(decisions) {
  const found = new Map();
  for (const each of decisions) {
    if (!found.has(each.request_id)) found.set(each.request_id, []);
    found.get(each.request_id).unshift(each);
  }
  const order = { prefill: 0, mixed: 1, decode: 2 };
  for (const group of found.values()) group.sort((one, other) => one.attempt - other.attempt || order[one.role] - order[other.role]);
  return found;
}

export class Decisions {
  #entries = new Map();
  #body = make("tbody", { role: "rowgroup" });
  #panel = at("decisions");
  #newer = at("newer");
  #groups = new Map();
  #notBefore = 0;
  #now = 0;

  constructor() {
    const heads = HEADS.map((head) => make("th", { role: "columnheader", scope: "col", class: FIGURES.has(head) ? "figures" : null }, head));
    at("decisions-body").append(make("table", { role: "table", "aria-labelledby": "decisions-title" }, make("thead", { role: "rowgroup" }, make("tr", { role: "row" }, ...heads)), this.#body));
    this.#newer.addEventListener("click", () => {
      for (const entry of this.#entries.values()) entry.open = false;
      this.#entries.clear();
      this.#show(true);
    });
  }

  /** Forgets all. */
  clear() {
    this.#groups = new Map();
    this.#entries.clear();
    this.#show(true);
  }

  /** Asks for them, where the router keeps any. */
  async update(now) {
    if (performance.now() < this.#notBefore) return;
    let told;
    try {
      told = await ask(`decisions?last=${LAST}`);
    } catch (error) {
      if (!(error instanceof Refusal) || error.status === 401) throw error;
      this.#notBefore = performance.now() + AGAIN;
      this.#panel.hidden = true;
      return;
    }
    this.#panel.hidden = false;
    this.#groups = grouped(told.decisions);
    this.#now = now;
    this.#show(false);
  }

  #show(due) {
    const held = !due && this.#entries.size > 0 && (this.#panel.matches(":hover") || this.#panel.contains(document.activeElement) || [...this.#entries.values()].some((entry) => entry.open));
    const fresh = [...this.#groups.keys()].filter((id) => !this.#entries.has(id));
    if (!held) {
      for (const id of this.#entries.keys()) if (!this.#groups.has(id)) this.#entries.delete(id);
      for (const id of fresh) this.#entries.set(id, new Entry(id, () => this.#arrange()));
    }
    for (const [id, entry] of this.#entries) if (this.#groups.has(id)) entry.update(this.#groups.get(id), this.#now);
    this.#newer.hidden = !(held && fresh.length);
    write(this.#newer, `Show ${some(fresh.length, "newer request")}`);
    if (!held) this.#arrange();
  }

  #arrange() {
    const rank = new Map([...this.#groups.keys()].map((id, index) => [id, index]));
    const entries = [...this.#entries.values()].sort((one, other) => (rank.get(one.id) ?? Infinity) - (rank.get(other.id) ?? Infinity));
    const nodes = entries.flatMap((entry) => entry.nodes);
    if (!nodes.length) nodes.push(make("tr", { role: "row" }, make("td", { role: "cell", colspan: HEADS.length, class: "dim" }, "None yet: the next request is shown here.")));
    arrange(this.#body, nodes);
  }
}
