//! One decision: what was seen when it was made, and what became of it.

use fd_router_core::ids::Role;
use fd_router_core::policy::{BEST, Policy, Terms, View};
use fd_router_core::scheduler::Usage;
use fd_router_record::Outcome;

use crate::name::{Name, TEXT};

/// Urls that a decision left out and that are kept of it.
const EXCLUDED: usize = 16;

/// How a decision was made.
#[derive(Debug, Clone)]
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

/// A decision that is kept, in one piece: memory that came and went with each would lie between all else that the process
/// allocates, and spread that over as much memory as the ring has.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    pub(crate) name: Name,
    pub(crate) attempt: u32,
    /// Its view has no candidates: they are in `best`.
    chosen: Chosen,
    best: [Option<Terms>; BEST],
    pub(crate) excluded: Box<[Box<str>]>,
    pub(crate) fate: Fate,
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
    pub(crate) fn new(name: Name, attempt: u32, mut chosen: Chosen, excluded: &[String]) -> Self {
        let outcome = chosen.view.is_none().then_some(Outcome::NoWorker);
        let seen = chosen.view.as_mut();
        let mut seen = seen.map_or_else(Vec::new, |view| std::mem::take(&mut view.best));
        let mut seen = seen.drain(..);
        let excluded = excluded.iter().take(EXCLUDED);
        Self {
            name,
            attempt,
            chosen,
            best: std::array::from_fn(|_| seen.next()),
            excluded: excluded.map(|url| url.as_str().into()).collect(),
            fate: Fate {
                outcome,
                ..Fate::default()
            },
        }
    }

    /// How it was made.
    pub(crate) fn chosen(&self) -> Chosen {
        let mut chosen = self.chosen.clone();
        if let Some(view) = &mut chosen.view {
            view.best.extend(self.best.iter().flatten().cloned());
        }
        chosen
    }

    /// The head of an answer came at `now`, with the `whole` of it or as the first part.
    pub(crate) fn headed(&mut self, status: u16, whole: bool, now: u64) {
        self.fate.status = Some(status);
        if whole {
            self.first_byte(now);
        }
    }

    /// The first byte of an answer came at `now`.
    pub(crate) fn first_byte(&mut self, now: u64) {
        self.fate.first_byte = Some(self.since(now));
    }

    /// The attempt that it belongs to was lost.
    pub(crate) fn lost(&mut self, reason: &str, followed: bool) {
        self.fate.error = Some(reason.into());
        self.fate.followed = followed;
    }

    /// It is over, at `now`; the first time counts.
    pub(crate) fn end(&mut self, outcome: Outcome, now: u64) {
        if self.fate.outcome.is_none() {
            self.fate.outcome = Some(outcome);
            self.fate.took = Some(self.since(now));
        }
    }

    /// Bytes that it holds beside itself at the most, about. What it shares counts as its own, as it may be the last to
    /// hold it, and so does what is yet to be told of an attempt that may be lost.
    pub(crate) fn bytes(&self) -> usize {
        let excluded = self.excluded.iter();
        let excluded: usize = excluded.map(|url| size_of::<Box<str>>() + url.len()).sum();
        let hit = self.chosen.view.as_ref().map(|view| &view.best_hit);
        let urls = self.best.iter().chain(hit).flatten();
        let urls: usize = urls.map(|terms| terms.url.len()).sum();
        self.name.bytes() + excluded + urls + TEXT
    }

    fn since(&self, now: u64) -> u64 {
        now.saturating_sub(self.chosen.now)
    }
}
