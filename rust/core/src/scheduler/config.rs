//! How a scheduler is set up.

use crate::ids::Role;
use crate::policy::{Policy, Settings};

/// A scheduler's policies and limits.
#[derive(Debug, Clone)]
pub struct SchedulerConfig {
    /// The policy of each role that is served.
    pub policies: Vec<(Role, Policy)>,
    /// Code points or tokens in a block, at least 1.
    pub block_size: usize,
    /// Bound on the prefix tree's memory.
    pub cache_max_bytes: usize,
    /// Milliseconds for which an unused prefix is remembered.
    pub idle_limit: u64,
    /// What tunes the policies.
    pub settings: Settings,
    /// Seed of all chance.
    pub seed: u64,
}
