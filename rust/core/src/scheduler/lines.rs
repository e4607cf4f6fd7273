//! The lines that tell of a lease, as upstream (the Go router) logs them, word for word.
//!
//! The line about a cache-aware decision, which comes before them, is [`Explanation::text`].
//!
//! [`Explanation::text`]: crate::policy::Explanation::text

use crate::ids::Role;

use super::decision::Decision;

/// A worker was chosen and booked: for prefill with its tokens, else with its running count.
pub fn chosen(decision: &Decision) -> String {
    let (name, count) = match decision.role {
        Role::Prefill => ("tokens", decision.tokens),
        Role::Decode | Role::Mixed => ("count", decision.running),
    };
    let (role, url) = (decision.role, decision.lease.worker().url());
    format!("select worker ({role}): {url}, {name}: {count}")
}

/// The answer has reached the client in full.
pub fn ended(status: u16) -> String {
    if matches!(status, 200..=299) {
        "Request completed successfully.".to_owned()
    } else {
        format!("Request completed with an error: status {status}.")
    }
}

/// Tokens were given back; `left` are the worker's after it.
pub fn tokens_released(decision: &Decision, left: u64) -> String {
    let url = decision.lease.worker().url();
    format!("release prefill tokens: {url}, tokens: {left}")
}

/// Everything was given back, with the worker's counts after it: one line, and one more where tokens went back too.
pub fn released(
    decision: &Decision,
    running: u64,
    tokens: Option<u64>,
) -> (String, Option<String>) {
    let url = decision.lease.worker().url();
    // Upstream says nothing of a decode worker's tokens.
    let tokens = tokens.filter(|_| decision.role != Role::Decode);
    (
        format!("release worker: {url}, count: {running}"),
        tokens.map(|left| tokens_released(decision, left)),
    )
}
