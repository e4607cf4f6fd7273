/**
 * The page's one loop: ask for the status, show it, and again a second later; not while nobody looks.
 *
 * What the viewer may be told of: `live`; `lost`, when no answer comes, which is tried again each second, and what is
 * shown is of before; `asking`, before the first answer; `locked`, when a key is needed.
 */

import { Refusal, ask, key } from "./api.js";
import { Decisions } from "./decisions.js";
import { at, mark, write } from "./dom.js";
import { Fleet, verdict } from "./fleet.js";
import { order } from "./orders.js";
import { slow } from "./peers.js";
import { address, some, span } from "./text.js";
import { Workers } from "./workers.js";

/** Milliseconds between an answer and the next question. */
const PAUSE = 1000;
/** Changes of state that are told one by one. */
const TOLD = 3;
const REFUSED = "The key is not accepted.";

const fleet = new Fleet();
const workers = new Workers(give);
const decisions = new Decisions();

let latest = null;
let answered = 0;
let state = "asking";
let timer = 0;

function announce(text) {
  write(at("announcer"), text);
}

function become(next, text) {
  state = next;
  mark(at("connection"), "data-state", next);
  mark(document.body, "data-connection", next);
  write(at("connection-text"), text);
}

async function turn() {
  clearTimeout(timer);
  if (document.hidden) return;
  try {
    const status = await ask("status");
    show(status);
    await decisions.update(status.now);
  } catch (error) {
    if (error instanceof Refusal && error.status === 401) return lock();
    lose(error);
  }
  clearTimeout(timer);
  timer = setTimeout(turn, PAUSE);
}

function show(status) {
  const restarted = latest !== null && latest.started !== status.started;
  if (restarted) fleet.restart();
  if (restarted) announce("The router was restarted.");
  else if (state === "lost") announce("The router answers again.");
  else tellChanges(latest, status);
  const found = slow(status.workers);
  facts(status);
  fleet.update(status, found);
  workers.update(status, found);
  const bad = verdict(status, found);
  document.title = bad ? `${bad} · fd-router` : "fd-router";
  latest = status;
  answered = performance.now();
  at("gate").hidden = true;
  write(at("gate-error"), "");
  at("shown").hidden = false;
  at("forget").hidden = key.get() === null;
  at("open-note").hidden = key.get() !== null;
  become("live", "live");
}

function facts(status) {
  at("facts").hidden = false;
  write(at("version"), status.version);
  write(at("mode"), status.pd ? "prefill/decode" : "mixed");
  const policies = Object.entries(status.policies);
  write(at("policy"), policies.map(([role, policy]) => (policies.length > 1 ? `${role}: ${policy}` : policy)).join(" · "));
  write(at("uptime"), span(status.now - status.started));
  write(at("config"), status.config.slice(0, 8));
  mark(at("config"), "title", status.config);
}

function tellChanges(before, status) {
  if (before === null) return;
  const were = new Map(before.workers.map((row) => [row.url, row.state]));
  const changed = status.workers.filter((row) => were.has(row.url) && were.get(row.url) !== row.state);
  if (changed.length > TOLD) announce(`${some(changed.length, "worker")} changed their state.`);
  else if (changed.length) announce(changed.map((row) => `${address(row.url)} is ${row.state}: ${row.why}.`).join(" "));
}

function lose(error) {
  const silent = answered ? `no answer for ${span((performance.now() - answered) / 1000)}` : "no answer";
  const why = error instanceof Refusal ? `status ${error.status}` : silent;
  if (state === "live") announce("The router does not answer. It is asked again each second.");
  become("lost", `${why}, trying again`);
}

/** The router wants a key, or another one. */
function lock() {
  const wrong = key.get() !== null;
  key.forget();
  latest = null;
  for (const part of [fleet, workers, decisions]) part.clear();
  at("shown").hidden = true;
  at("forget").hidden = true;
  at("facts").hidden = true;
  at("confirm").close();
  const first = at("gate").hidden;
  at("gate").hidden = false;
  if (wrong) write(at("gate-error"), REFUSED);
  become("locked", "key needed");
  document.title = "fd-router";
  if (first || wrong) at("gate-key").focus();
}

async function give(verb, row) {
  try {
    const now = await order(verb, row, latest.workers);
    if (now !== null) {
      announce(`${address(row.url)} is ${now.state}: ${now.why}.`);
      await turn();
    }
  } catch (error) {
    if (error instanceof Refusal && error.status === 401) return lock();
    const text = `${verb} of ${address(row.url)} was refused: ${error instanceof Refusal ? error.message : "the router does not answer"}.`;
    announce(text);
    toast(text);
  }
  workers.focus(row.url);
}

let gone = 0;
/** Shows for a while what went wrong with an order. */
function toast(text) {
  const node = at("toast");
  write(node, text);
  node.hidden = false;
  clearTimeout(gone);
  gone = setTimeout(() => (node.hidden = true), 8000);
}

at("gate-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const typed = at("gate-key").value.trim();
  at("gate-key").value = "";
  // Anything else is no key, and no header either.
  if (!/^[\x21-\x7e]+$/.test(typed)) return write(at("gate-error"), REFUSED);
  key.set(typed);
  turn();
});
at("forget").addEventListener("click", () => {
  key.forget();
  turn();
});
document.addEventListener("visibilitychange", turn);
document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input, select, textarea, dialog");
  if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
    event.preventDefault();
    at("filter").focus();
  }
});
turn();
