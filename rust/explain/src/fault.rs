//! What was at fault where an engine had little of a prompt cached, in one word and a sentence.
//!
//! - *index*: the worker had another share of the prompt cached than it was thought to hold.
//! - *routing*: another candidate was thought to hold much more, and was passed over.
//! - *workload*: nobody was thought to hold any of it.
//!
//! What an engine counts and what the router does are both whole blocks, of different lengths: shares are the same as long
//! as a block of each may explain how far they are apart.

use fd_router_core::ids::Role;
use fd_router_core::policy::{Terms, View};
use fd_router_core::scheduler::Usage;
use fd_router_record::Outcome;
use serde::Serialize;

use crate::told::{Chosen, Fate};

/// Shares of a prompt that are no different, however long it is.
const SAME: f64 = 0.2;
/// Tokens of an engine's block.
const ENGINE_BLOCK: f64 = 64.0;

/// What was at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Fault {
    /// Nothing: the cache was used as well as it could be.
    None,
    /// The prompt.
    Workload,
    /// The choice.
    Routing,
    /// What was known of caches.
    Index,
    /// Nobody can tell.
    Unknown,
}

type Judged = (Fault, String);

/// Judges a decision by what it saw and what became of it. `spared` is whether workers were left out.
pub(crate) fn judge(chosen: &Chosen, fate: &Fate, spared: bool) -> Judged {
    let unknown = |why: &str| (Fault::Unknown, why.to_owned());
    let Some(view) = &chosen.view else {
        return unknown("There was no worker to choose.");
    };
    if let Some(error) = &fate.error {
        return (Fault::Unknown, format!("The attempt was lost: {error}."));
    }
    match fate.outcome {
        None => return unknown("The request is under way."),
        Some(Outcome::Unanswered | Outcome::Dropped | Outcome::NoWorker) => {
            return unknown("No answer came that could tell what was cached.");
        }
        Some(Outcome::Completed | Outcome::Broken) => {}
    }
    if chosen.role == Role::Decode {
        let why = "A decode worker looks nothing up: prefill sends it what is cached.";
        return (Fault::None, why.to_owned());
    }
    Shares::new(view, fate.usage).map_or_else(
        || blind(chosen, true_hit(fate.usage)),
        |shares| shares.judge(chosen, view, spared),
    )
}

/// The share of a prompt that an engine says that it had cached.
pub(crate) fn true_hit(usage: Option<Usage>) -> Option<f64> {
    let Usage { prompt, cached } = usage?;
    (prompt > 0).then_some(cached?.min(prompt) as f64 / prompt as f64)
}

/// The share of a prompt that a candidate was thought to hold.
pub(crate) fn share(view: &View, terms: &Terms) -> Option<f64> {
    let held = terms.held?;
    Some(if view.tokens > 0.0 {
        held / view.tokens
    } else {
        0.0
    })
}

/// Nobody looked prefixes up.
fn blind(chosen: &Chosen, had: Option<f64>) -> Judged {
    let policy = chosen.decided_by.name();
    match had {
        Some(had) if had >= 1.0 - SAME => (
            Fault::None,
            format!("The engine had {} of the prompt cached.", percent(had)),
        ),
        Some(had) => (
            Fault::Unknown,
            format!(
                "{policy} looks no prefix up, so nobody knows what others held; the engine had {} of the prompt cached.",
                percent(had)
            ),
        ),
        None => (
            Fault::Unknown,
            format!("{policy} looks no prefix up, and the engine does not say what it had cached."),
        ),
    }
}

/// Shares of the prompt.
struct Shares {
    /// That the chosen worker was thought to hold.
    predicted: f64,
    /// That anybody was thought to hold.
    most: f64,
    /// That the engine had cached, where it says so.
    had: Option<f64>,
    /// Those that are no further apart are the same.
    same: f64,
    /// Whether the prompt has no whole block.
    short: bool,
}

impl Shares {
    fn new(view: &View, usage: Option<Usage>) -> Option<Self> {
        let chosen = view.best.first()?;
        let predicted = share(view, chosen)?;
        let most = view.best_hit.as_ref().and_then(|best| share(view, best));
        let tokens = usage.map_or(view.tokens, |usage| usage.prompt as f64);
        let blocks = view.blocks.unwrap_or(0);
        let blocks_apart = 1.0 / f64::from(blocks.max(1)) + ENGINE_BLOCK / tokens.max(1.0);
        Some(Self {
            predicted,
            most: most.unwrap_or(0.0).max(predicted),
            had: true_hit(usage),
            same: if blocks_apart < 1.0 {
                blocks_apart.max(SAME)
            } else {
                SAME
            },
            short: blocks == 0,
        })
    }

    fn judge(&self, chosen: &Chosen, view: &View, spared: bool) -> Judged {
        let Self {
            predicted,
            most,
            same,
            ..
        } = *self;
        if self.short {
            let why = "The prompt is shorter than a block: there was nothing to find.";
            return (Fault::None, why.to_owned());
        }
        let had = self.had.unwrap_or(predicted);
        if predicted - had > same {
            return (Fault::Index, gone(predicted, had));
        }
        if most - predicted.max(had) > same {
            return (Fault::Routing, passed_over(chosen, view, predicted, most));
        }
        if had - predicted > same {
            return (Fault::Index, unforeseen(predicted, had));
        }
        if most < SAME {
            return nobody(most, spared);
        }
        let held = percent(predicted);
        if let Some(had) = self.had {
            let had = percent(had);
            let why = format!(
                "The worker was thought to hold {held} of the prompt, as much as anybody, and had {had} cached."
            );
            return (Fault::None, why);
        }
        let why = format!(
            "The worker was thought to hold {held} of the prompt; its engine does not say what it had cached."
        );
        (Fault::Unknown, why)
    }
}

fn gone(predicted: f64, had: f64) -> String {
    format!(
        "The worker was thought to hold {} of the prompt and had {} cached: what it held is gone.",
        percent(predicted),
        percent(had)
    )
}

fn unforeseen(predicted: f64, had: f64) -> String {
    format!(
        "The worker was thought to hold {} of the prompt and had {} cached: the index did not know of it.",
        percent(predicted),
        percent(had)
    )
}

fn nobody(most: f64, spared: bool) -> Judged {
    let most = percent(most);
    if spared {
        let why = format!(
            "Workers that had the request before were left out; of the others none was thought to hold more than {most} of the prompt."
        );
        return (Fault::Unknown, why);
    }
    let why = format!(
        "No candidate was thought to hold more than {most} of the prompt: it is new to the fleet."
    );
    (Fault::Workload, why)
}

/// Why whoever holds the most was not chosen: what it had more of than the chosen one.
fn passed_over(chosen: &Chosen, view: &View, predicted: f64, most: f64) -> String {
    let (Some(one), Some(other)) = (view.best.first(), &view.best_hit) else {
        return String::new();
    };
    let mut more = Vec::new();
    if other.running > one.running {
        more.push(format!(
            "{} requests running against {}",
            other.running, one.running
        ));
    }
    if other.pending.round() > one.pending.round() {
        more.push(format!(
            "{:.0} tokens pending against {:.0}",
            other.pending, one.pending
        ));
    }
    let load = if more.is_empty() {
        "for what else the policy weighs".to_owned()
    } else {
        format!("for its load of {}", more.join(" and "))
    };
    let rule = chosen.fallback.map_or_else(String::new, |reason| {
        format!(", as {} decided ({reason})", chosen.decided_by.name())
    });
    format!(
        "{} was thought to hold {} of the prompt, the chosen worker {}; it was passed over {load}{rule}.",
        other.url,
        percent(most),
        percent(predicted)
    )
}

fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}
