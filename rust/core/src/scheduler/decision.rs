//! What goes into a decision beside the request, and what comes out.

use crate::hash::Prefix;
use crate::ids::Role;
use crate::ids::Slot;
use crate::load::Lease;
use crate::policy::{Explanation, Policy, Verdict, View};

use super::outcomes::Outcome;
use crate::tree::Span;

/// What a decision is about, beside the request.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The tokenizer's ids; without them code points are hashed.
    pub tokens: Option<Vec<i64>>,
    /// Urls not to choose, unless nothing else is left.
    pub exclude: Vec<String>,
    /// The model that is to be served, in place of the request's own.
    pub model: Option<String>,
}

/// What a decision is about.
#[derive(Debug, Clone)]
pub struct Ask<'a> {
    /// Tokens of the prompt as upstream (the Go router) estimates and logs them.
    pub tokens: u64,
    /// What the prompt weighs in a choice by tokens.
    pub weight: u64,
    /// None for a prompt with nothing in it, and where the policy does not look.
    pub prefix: Option<Prefix>,
    /// Whether the tokens of the prefix are an engine's own, and no estimate.
    pub exact: bool,
    /// The model that is asked for.
    pub model: Option<&'a str>,
    /// The session that the request belongs to.
    pub session: Option<&'a str>,
    /// Whether the answer is streamed, so that its first byte is seen.
    pub stream: bool,
    /// See [`Options::exclude`].
    pub exclude: &'a [String],
}

/// What was recorded of a decision's prompt.
#[derive(Debug)]
pub(super) struct Recorded {
    pub(super) prefix: Prefix,
    pub(super) slot: Slot,
    /// Blocks that the worker was thought to have.
    pub(super) matched: u32,
    /// Tokens, by the scale of then, that it was thought to lack.
    pub(super) uncached: f64,
    /// What had been recorded of the prompt before, lapsed or not.
    pub(super) spans: Vec<Span>,
    /// See [`super::scales`]; None where the tokens are exact.
    pub(super) model: Option<u64>,
}

/// No policy was configured for the role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("role {0} is not served: the scheduler was given no policy for it")]
pub struct NotServed(pub Role);

/// A booked worker and how it was found.
#[derive(Debug)]
pub struct Decision {
    /// What was booked; given back when dropped.
    pub lease: Lease,
    /// The role that was asked for.
    pub role: Role,
    /// The policy that decided in the end.
    pub policy: Policy,
    /// The worker's running count just after booking.
    pub running: u64,
    /// The worker's tokens just after booking.
    pub tokens: u64,
    /// What a cache-aware policy saw.
    pub explanation: Explanation,
    /// What it saw, where that was asked for.
    pub view: Option<View>,
    pub(super) recorded: Option<Recorded>,
}

impl Decision {
    /// Why a cache-aware policy fell back.
    pub const fn reason(&self) -> Option<&'static str> {
        match &self.explanation.verdict {
            Verdict::FellBack(fallback) => Some(fallback.reason()),
            Verdict::Plain | Verdict::Scored { .. } | Verdict::Weighed { .. } => None,
        }
    }

    pub(super) const fn outcome(&self) -> Outcome {
        match self.reason() {
            Some(_) => Outcome::Fallback,
            None => Outcome::Chosen,
        }
    }

    /// Blocks of the prompt that the worker is thought to have; None where no match was made.
    pub const fn matched(&self) -> Option<u32> {
        self.explanation.verdict.matched()
    }

    /// Predicted share of the prompt's blocks that the worker has; None where no match was made.
    pub fn hit_ratio(&self) -> Option<f64> {
        match self.explanation.verdict {
            Verdict::Scored {
                matched, blocks, ..
            }
            | Verdict::Weighed {
                matched, blocks, ..
            } => Some(f64::from(matched) / f64::from(blocks.max(1))),
            Verdict::Plain | Verdict::FellBack(_) => None,
        }
    }
}
