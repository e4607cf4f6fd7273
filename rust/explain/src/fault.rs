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

#[cfg(test)]
mod tests {
    use super::*;
    use fd_router_core::policy::Policy;

    const BLOCKS: u32 = 64;
    const TOKENS: f64 = 1_024.0;

    fn terms(url: &str, hit: Option<f64>, running: u64, pending: f64) -> Terms {
        Terms {
            url: url.into(),
            cost: Some(1.0),
            running,
            pending,
            held: hit.map(|hit| hit * TOKENS),
        }
    }

    /// The chosen worker was thought to hold `predicted`, another one `most`.
    fn chosen(predicted: Option<f64>, most: f64) -> Chosen {
        let other = terms("http://other", Some(most), 9, 5_000.0);
        Chosen {
            role: Role::Mixed,
            policy: Policy::CacheAware,
            decided_by: Policy::CacheAware,
            fallback: None,
            view: Some(View {
                candidates: 2,
                best: vec![terms("http://one", predicted, 2, 0.0), other.clone()],
                best_hit: (most > 0.0).then_some(other),
                ties: 0,
                margin: None,
                blocks: predicted.map(|_| BLOCKS),
                tokens: TOKENS,
            }),
            at: 0,
            now: 0,
        }
    }

    /// It was answered in full, with so much of the prompt cached.
    fn served(had: Option<f64>) -> Fate {
        Fate {
            outcome: Some(Outcome::Completed),
            usage: Some(Usage {
                prompt: TOKENS as u64,
                cached: had.map(|had| (had * TOKENS) as u64),
            }),
            ..Fate::default()
        }
    }

    fn fault(predicted: f64, most: f64, had: Option<f64>) -> (Fault, String) {
        judge(&chosen(Some(predicted), most), &served(had), false)
    }

    #[test]
    fn each_fault_is_told_from_the_others() {
        let cases = [
            // predicted, most, had
            ((0.0, 0.0, Some(0.0)), Fault::Workload),
            ((0.1, 0.1, Some(0.0)), Fault::Workload),
            ((0.0, 0.0, None), Fault::Workload),
            ((0.0, 0.9, Some(0.0)), Fault::Routing),
            ((0.3, 0.9, Some(0.3)), Fault::Routing),
            ((0.0, 0.9, None), Fault::Routing),
            ((0.0, 0.9, Some(0.25)), Fault::Routing),
            ((0.9, 0.9, Some(0.0)), Fault::Index),
            ((0.5, 0.9, Some(0.0)), Fault::Index),
            ((0.0, 0.0, Some(0.9)), Fault::Index),
            ((0.0, 0.9, Some(0.9)), Fault::Index),
            ((0.9, 0.9, Some(0.9)), Fault::None),
            ((0.9, 0.95, Some(0.8)), Fault::None),
            ((0.4, 0.4, Some(0.4)), Fault::None),
            ((0.9, 0.9, None), Fault::Unknown),
        ];
        for ((predicted, most, had), wanted) in cases {
            let (fault, why) = fault(predicted, most, had);
            assert_eq!(fault, wanted, "{predicted}, {most}, {had:?}: {why}");
            assert!(why.ends_with('.') && !why.contains("  "), "{why}");
        }
    }

    #[test]
    fn what_is_passed_over_is_told_with_its_load() {
        let (_, why) = fault(0.0, 0.9, Some(0.0));
        assert_eq!(
            why,
            "http://other was thought to hold 90 % of the prompt, the chosen worker 0 %; it was passed over \
             for its load of 9 requests running against 2 and 5000 tokens pending against 0."
        );
        let mut fell_back = chosen(Some(0.0), 0.9);
        fell_back.decided_by = Policy::ProcessTokens;
        fell_back.fallback = Some("load imbalanced");
        let (fault, why) = judge(&fell_back, &served(None), false);
        assert_eq!(fault, Fault::Routing);
        assert!(
            why.ends_with("against 0, as process_tokens decided (load imbalanced)."),
            "{why}"
        );
        let mut idle = chosen(Some(0.0), 0.9);
        if let Some(best) = idle.view.as_mut().and_then(|view| view.best_hit.as_mut()) {
            (best.running, best.pending) = (0, 0.0);
        }
        let (_, why) = judge(&idle, &served(None), false);
        assert!(
            why.ends_with("it was passed over for what else the policy weighs."),
            "{why}"
        );
    }

    #[test]
    fn whole_blocks_explain_a_difference_of_their_length() {
        let apart = |tokens: f64, blocks: u32| {
            let mut chosen = chosen(Some(1.0), 1.0);
            let Some(view) = &mut chosen.view else {
                return Fault::Unknown;
            };
            (view.tokens, view.blocks) = (tokens, Some(blocks));
            view.best[0].held = Some(tokens);
            view.best_hit = Some(view.best[0].clone());
            let usage = Usage {
                prompt: tokens as u64,
                cached: Some((tokens * 0.7) as u64),
            };
            let fate = Fate {
                usage: Some(usage),
                ..served(None)
            };
            judge(&chosen, &fate, false).0
        };
        assert_eq!(apart(1_024.0, 64), Fault::Index);
        assert_eq!(
            apart(256.0, 16),
            Fault::None,
            "a block of 64 and one of 16 are missing at most"
        );
    }

    #[test]
    fn who_was_left_out_may_have_held_it() {
        let (fault, why) = judge(&chosen(Some(0.0), 0.0), &served(Some(0.0)), true);
        assert_eq!(fault, Fault::Unknown);
        assert!(
            why.starts_with("Workers that had the request before were left out"),
            "{why}"
        );
    }

    #[test]
    fn a_short_prompt_and_a_decode_leg_are_nobodys_fault() {
        let mut short = chosen(Some(0.0), 0.0);
        if let Some(view) = &mut short.view {
            view.blocks = Some(0);
        }
        assert_eq!(judge(&short, &served(Some(0.0)), false).0, Fault::None);
        let mut decode = chosen(None, 0.0);
        decode.role = Role::Decode;
        assert_eq!(judge(&decode, &served(Some(0.0)), false).0, Fault::None);
    }

    #[test]
    fn where_nobody_looks_only_the_engine_can_tell() {
        let blind = |had| judge(&chosen(None, 0.0), &served(had), false).0;
        assert_eq!(blind(Some(0.9)), Fault::None);
        assert_eq!(blind(Some(0.0)), Fault::Unknown);
        assert_eq!(blind(None), Fault::Unknown);
    }

    #[test]
    fn what_is_not_answered_tells_nothing() {
        let told = |fate: Fate| judge(&chosen(Some(0.9), 0.9), &fate, false);
        assert_eq!(told(Fate::default()).1, "The request is under way.");
        for outcome in [Outcome::Unanswered, Outcome::Dropped] {
            let fate = Fate {
                outcome: Some(outcome),
                ..Fate::default()
            };
            assert_eq!(told(fate).0, Fault::Unknown);
        }
        let lost = Fate {
            error: Some("mixed worker u: refused".into()),
            ..served(Some(0.0))
        };
        assert_eq!(
            told(lost).1,
            "The attempt was lost: mixed worker u: refused."
        );
        let nobody = Chosen {
            view: None,
            ..chosen(None, 0.0)
        };
        let (fault, why) = judge(&nobody, &Fate::default(), false);
        assert_eq!(
            (fault, &*why),
            (Fault::Unknown, "There was no worker to choose.")
        );
    }
}
