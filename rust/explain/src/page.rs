//! Decisions as JSON. `docs/decisions.md` has the table of their fields.

use fd_router_core::policy::{Terms, View};
use fd_router_record::Outcome;
use serde::Serialize;

use crate::fault::{Fault, judge, share, true_hit};
use crate::told::Told;

/// Bytes from which on an answer takes no more decisions.
pub(crate) const ENOUGH: usize = 4 << 20;

#[derive(Serialize)]
struct Page<'a> {
    request_id: &'a str,
    at: f64,
    path: &'a str,
    stream: bool,
    attempt: u32,
    role: &'a str,
    policy: &'a str,
    decided_by: &'a str,
    fallback: Option<&'a str>,
    worker: Option<&'a str>,
    margin: Option<f64>,
    ties: u32,
    candidates: usize,
    excluded: &'a [Box<str>],
    blocks: Option<u32>,
    best: Vec<Candidate<'a>>,
    best_hit: Option<Candidate<'a>>,
    lost: Option<&'a str>,
    error: Option<&'a str>,
    outcome: Stage,
    status: Option<u16>,
    first_byte_secs: Option<f64>,
    duration_secs: Option<f64>,
    predicted_hit: Option<f64>,
    true_hit: Option<f64>,
    fault: Fault,
    why: &'a str,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Stage {
    UnderWay(&'static str),
    Over(Outcome),
}

#[derive(Serialize)]
struct Candidate<'a> {
    url: &'a str,
    cost: Option<f64>,
    running: u64,
    pending: u64,
    uncached: Option<u64>,
    hit: Option<f64>,
}

/// `{"decisions": [...]}`, as many as there is room for.
pub(crate) fn newest_first(told: &[Told]) -> Vec<u8> {
    let pieces = written(told);
    [b"{\"decisions\":[", &*pieces.join(&b','), b"]}"].concat()
}

/// `{"request_id": ..., "decisions": [...]}`, the newest that there is room for, the oldest of them first.
pub(crate) fn about(id: &str, newest_first: &[Told]) -> Vec<u8> {
    let mut pieces = written(newest_first);
    pieces.reverse();
    let id = bytes(&id);
    [
        b"{\"request_id\":",
        &*id,
        b",\"decisions\":[",
        &pieces.join(&b','),
        b"]}",
    ]
    .concat()
}

fn written(told: &[Told]) -> Vec<Vec<u8>> {
    let mut size = 0;
    let pieces = told.iter().map(written_one);
    pieces
        .take_while(|piece| {
            size += piece.len();
            size <= ENOUGH
        })
        .collect()
}

fn written_one(told: &Told) -> Vec<u8> {
    let fate = &told.fate;
    let chosen = told.chosen();
    let view = chosen.view.as_ref();
    let first = view.and_then(|view| view.best.first());
    let (fault, why) = judge(&chosen, fate, !told.excluded.is_empty());
    let error = fate.error.as_deref();
    bytes(&Page {
        request_id: told.name.id.text(),
        at: chosen.at as f64 / 1e3,
        path: &told.name.path,
        stream: told.name.stream,
        attempt: told.attempt,
        role: chosen.role.name(),
        policy: chosen.policy.name(),
        decided_by: chosen.decided_by.name(),
        fallback: chosen.fallback,
        worker: first.map(|terms| &*terms.url),
        margin: view.and_then(|view| view.margin).map(short),
        ties: view.map_or(0, |view| view.ties),
        candidates: view.map_or(0, |view| view.candidates),
        excluded: &told.excluded,
        blocks: view.and_then(|view| view.blocks),
        best: view.map_or_else(Vec::new, |view| {
            view.best
                .iter()
                .map(|terms| candidate(view, terms))
                .collect()
        }),
        best_hit: view.and_then(|view| Some(candidate(view, view.best_hit.as_ref()?))),
        lost: error.filter(|_| fate.followed),
        error,
        outcome: fate.outcome.map_or(Stage::UnderWay("running"), Stage::Over),
        status: fate.status,
        first_byte_secs: fate.first_byte.map(secs),
        duration_secs: fate.took.map(secs),
        predicted_hit: view
            .zip(first)
            .and_then(|(view, terms)| share(view, terms))
            .map(short),
        true_hit: true_hit(fate.usage).map(short),
        fault,
        why: &why,
    })
}

fn candidate<'a>(view: &View, terms: &'a Terms) -> Candidate<'a> {
    Candidate {
        url: &terms.url,
        cost: terms.cost.map(short),
        running: terms.running,
        pending: terms.pending.round() as u64,
        uncached: terms.held.map(|held| (view.tokens - held).round() as u64),
        hit: share(view, terms).map(short),
    }
}

fn bytes(value: &impl Serialize) -> Vec<u8> {
    // Fails for maps whose keys are no text: there are none.
    serde_json::to_vec(value).unwrap_or_default()
}

fn secs(millis: u64) -> f64 {
    millis as f64 / 1e3
}

/// Four places are read, and sixteen are not.
fn short(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}
