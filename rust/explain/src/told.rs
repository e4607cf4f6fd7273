//! One decision: what was seen when it was made, and what became of it.

use fd_router_core::ids::Role;
use fd_router_core::policy::{BEST, Policy, Terms, View};
use fd_router_core::scheduler::Usage;
use fd_router_record::Outcome;
use parking_lot::Mutex;

use crate::name::{Name, TEXT};

/// Urls that a decision left out and that are kept of it.
const EXCLUDED: usize = 16;

/// How a decision was made.
#[derive(Debug)]
pub struct Chosen {
    /// What was to be chosen.
    pub role: Role,
    /// The role's policy.
    pub policy: Policy,
    /// The policy that decided in the end.
    pub decided_by: Policy,
    /// Why it was another one.
    pub fallback: Option<&'static str>,
    /// What was seen; None where there was nobody.
    pub view: Option<View>,
    /// Milliseconds since 1970.
    pub at: u64,
    /// The same moment in milliseconds on the clock by which the rest is told.
    pub now: u64,
}

/// A decision that is kept.
#[derive(Debug)]
pub struct Told {
    pub(crate) name: Name,
    pub(crate) attempt: u32,
    pub(crate) chosen: Chosen,
    pub(crate) excluded: Box<[Box<str>]>,
    pub(crate) fate: Mutex<Fate>,
}

/// What became of a decision, as far as it is known.
#[derive(Debug, Default, Clone)]
pub(crate) struct Fate {
    pub(crate) outcome: Option<Outcome>,
    pub(crate) status: Option<u16>,
    /// Milliseconds from the decision.
    pub(crate) first_byte: Option<u64>,
    pub(crate) took: Option<u64>,
    pub(crate) usage: Option<Usage>,
    pub(crate) error: Option<Box<str>>,
    /// Another attempt followed.
    pub(crate) followed: bool,
}

impl Told {
    pub(crate) fn new(name: Name, attempt: u32, chosen: Chosen, excluded: &[String]) -> Self {
        let outcome = chosen.view.is_none().then_some(Outcome::NoWorker);
        let excluded = excluded.iter().take(EXCLUDED);
        Self {
            name,
            attempt,
            chosen,
            excluded: excluded.map(|url| url.as_str().into()).collect(),
            fate: Mutex::new(Fate {
                outcome,
                ..Fate::default()
            }),
        }
    }

    /// The head of an answer came at `now`, with the `whole` of it or as the first part.
    pub fn headed(&self, status: u16, whole: bool, now: u64) {
        let mut fate = self.fate.lock();
        fate.status = Some(status);
        if whole {
            fate.first_byte = Some(self.since(now));
        }
    }

    /// The first byte of an answer came at `now`.
    pub fn first_byte(&self, now: u64) {
        self.fate.lock().first_byte = Some(self.since(now));
    }

    /// The engine said what it made of the prompt.
    pub fn usage(&self, usage: Usage) {
        self.fate.lock().usage = Some(usage);
    }

    /// The attempt that it belongs to was lost.
    pub(crate) fn lost(&self, reason: &str, followed: bool) {
        let mut fate = self.fate.lock();
        fate.error = Some(reason.into());
        fate.followed = followed;
    }

    /// It is over, at `now`; the first time counts.
    pub fn end(&self, outcome: Outcome, now: u64) {
        let mut fate = self.fate.lock();
        if fate.outcome.is_none() {
            fate.outcome = Some(outcome);
            fate.took = Some(self.since(now));
        }
    }

    /// Bytes that it holds at the most, about. What it shares counts as its own, as it may be the last to hold it, and so
    /// does what is yet to be told of it.
    pub(crate) fn bytes(&self) -> usize {
        let excluded: usize = self
            .excluded
            .iter()
            .map(|url| size_of::<Box<str>>() + url.len())
            .sum();
        let view = self.chosen.view.as_ref().map_or(0, |view| {
            let urls = view.best.iter().chain(&view.best_hit);
            BEST * size_of::<Terms>() + urls.map(|terms| terms.url.len()).sum::<usize>()
        });
        size_of::<Self>() + self.name.bytes() + excluded + view + TEXT
    }

    fn since(&self, now: u64) -> u64 {
        now.saturating_sub(self.chosen.now)
    }
}
