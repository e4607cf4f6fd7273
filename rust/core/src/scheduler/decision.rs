//! What goes into a decision beside the request, and what comes out.

use crate::hash::Prefix;
use crate::ids::Role;
use crate::load::{Burden, Lease};
use crate::policy::{Explanation, Policy, Verdict};

use super::outcomes::Outcome;

/// What a decision is about, beside the request.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The tokenizer's ids; without them code points are hashed.
    pub tokens: Option<Vec<i64>>,
    /// Urls not to choose, unless nothing else is left.
    pub exclude: Vec<String>,
}

/// What a decision is about.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ask<'a> {
    pub(super) burden: Burden,
    /// None for a prompt with nothing in it, and where the policy does not look.
    pub(super) prefix: Option<&'a Prefix>,
    pub(super) session: Option<&'a str>,
    /// See [`Options::exclude`].
    pub(super) exclude: &'a [String],
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
}

impl Decision {
    /// Why a cache-aware policy fell back.
    pub const fn reason(&self) -> Option<&'static str> {
        match &self.explanation.verdict {
            Verdict::FellBack(fallback) => Some(fallback.reason()),
            Verdict::Plain | Verdict::Scored { .. } => None,
        }
    }

    pub(super) const fn outcome(&self) -> Outcome {
        match self.reason() {
            Some(_) => Outcome::Fallback,
            None => Outcome::Chosen,
        }
    }

    /// Predicted share of the prompt's blocks that the worker has; None where no match was made.
    pub fn hit_ratio(&self) -> Option<f64> {
        match self.explanation.verdict {
            Verdict::Scored {
                matched, blocks, ..
            } => Some(f64::from(matched) / f64::from(blocks.max(1))),
            Verdict::Plain | Verdict::FellBack(_) => None,
        }
    }
}
