//! Who is told what becomes of a decision: the recording, and whoever may ask for it later.

use fd_router_core::scheduler::Usage;
use fd_router_explain::Kept;
use fd_router_record::{Entry, Outcome};

use super::recording::Moment;

/// The witnesses of one decision.
pub(super) struct Witnesses {
    /// None where nothing is recorded.
    pub(super) entry: Option<Entry>,
    /// None where nobody said what the request is called.
    pub(super) told: Option<Kept>,
}

impl Witnesses {
    /// The head of an answer came, with the `whole` of it or as the first part.
    pub(super) fn headed(&self, now: u64, status: u16, whole: bool) {
        if let Some(told) = &self.told {
            told.headed(status, whole, now);
        }
    }

    /// The first byte of an answer came that gives nothing back.
    pub(super) fn begun(&self, now: u64) {
        if let Some(told) = &self.told {
            told.first_byte(now);
        }
    }

    /// The first byte of an answer came, for which tokens were given back.
    pub(super) fn first_byte(&self, moment: &mut Moment<'_>) {
        if let (Some(entry), Some(turn)) = (&self.entry, &mut moment.turn) {
            entry.first_byte(turn, moment.now);
        }
        self.begun(moment.now);
    }

    /// The engine said what it made of the prompt.
    pub(super) fn usage(&self, moment: Moment<'_>, usage: Usage) {
        if let Some(told) = &self.told {
            told.usage(usage);
        }
        if let (Some(entry), Some(turn)) = (&self.entry, moment.turn) {
            entry.usage(turn, usage, moment.now);
        }
    }

    /// It is over, with `output` tokens of the answer where that is known.
    pub(super) fn end(&self, moment: &mut Moment<'_>, outcome: Outcome, output: Option<u64>) {
        if let (Some(entry), Some(turn)) = (&self.entry, &mut moment.turn) {
            entry.end(turn, moment.now, outcome, output);
        }
        if let Some(told) = &self.told {
            told.end(outcome, moment.now);
        }
    }
}
