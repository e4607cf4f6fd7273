//! Learning from answers: how many tokens a prompt has, what was cached of it, and so how much a cache holds.

use std::sync::Arc;

use super::capacity::{Evidence, learned};
use super::decision::{Decision, Recorded};
use super::{Scheduler, Usage};
use crate::share::News;

/// Tokens of an engine's block at the most, as a power of two.
const ENGINE_BLOCK_BITS: u32 = 6;

impl Scheduler {
    /// Takes what an answer says of the prompt of a decision.
    pub fn learn(&self, decision: &Decision, usage: Usage) {
        let Some(recorded) = &decision.recorded else {
            return;
        };
        let estimate = recorded.prefix.tokens();
        if estimate <= 0.0 || usage.prompt == 0 {
            return;
        }
        if let Some(model) = recorded.model {
            let mut scales = self.scales.lock();
            scales.learn(model, usage.prompt as f64, estimate);
        }
        let Some(cached) = usage.cached.map(|cached| cached.min(usage.prompt)) else {
            return;
        };
        let scale = usage.prompt as f64 / estimate;
        let predicted = recorded.prefix.tokens_of(recorded.matched as usize) * scale;
        self.truth.note(usage.prompt, predicted, cached);
        let worker = decision.lease.worker();
        worker.truth().note(usage.prompt, predicted, cached);
        let url = worker.url();
        let roster = self.roster.read();
        if roster.slot(url) != Some(recorded.slot) {
            return; // it ended in the meantime
        }
        let mut tree = self.tree.lock();
        if let Some(evidence) = evidence(recorded, cached, scale) {
            roster.update_capacity(url, &mut tree, |capacity| learned(capacity, evidence));
        }
        let cold = match snapshot_holds(recorded, cached, scale) {
            Some(true) => {
                tree.trust(recorded.slot);
                false
            }
            Some(false) => tree.doubt(recorded.slot),
            None => false,
        };
        drop(tree);
        drop(roster);
        if cold {
            self.forget(url);
        }
    }

    /// Takes back what was recorded of a decision whose worker gave no answer.
    pub fn take_back(&self, decision: &Decision) {
        let Some(recorded) = &decision.recorded else {
            return;
        };
        let roster = self.roster.read();
        if roster.slot(decision.lease.worker().url()) == Some(recorded.slot) {
            let mut tree = self.tree.lock();
            let from = recorded.matched as usize;
            let hashes = recorded.prefix.hashes();
            tree.take_back(hashes, from, recorded.slot, recorded.uncached);
            drop(tree);
            if let (true, Some(&last)) = (self.sharing.is_on(), hashes.last()) {
                self.sharing.put(News::TakenBack {
                    worker: Arc::clone(decision.lease.worker()),
                    last,
                    stay: recorded.matched,
                    uncached: recorded.uncached,
                });
            }
        }
    }

    /// Tells how many tokens a worker's cache holds, from a setting or its metrics; an unknown url is ignored.
    ///
    /// What is learned from answers goes on from there; the same number again changes nothing.
    pub fn tell_capacity(&self, url: &str, tokens: f64) {
        let mut roster = self.roster.write();
        if roster.is_news(url, tokens) {
            roster.update_capacity(url, &mut self.tree.lock(), |_| Some(tokens));
        }
    }

    /// Tokens that caches hold, by url; only those that are known.
    pub fn capacities(&self) -> Vec<(String, f64)> {
        self.roster.read().capacities()
    }

    /// Tokens that caches are thought to hold now, by url; of those that have a slot in the tree.
    pub fn held(&self) -> Vec<(String, f64)> {
        let roster = self.roster.read();
        roster.held(&self.tree.lock())
    }
}

/// What an answer with so many cached tokens says of the capacity; `scale` is tokens for one of the estimate.
///
/// An engine's count falls short of what it has: it counts whole blocks of its own, and computes the last token anew in
/// any case. A span that could be missing for that alone says nothing.
///
/// Nor does one that only a snapshot knows: the engine may be another.
fn evidence(recorded: &Recorded, cached: u64, scale: f64) -> Option<Evidence> {
    let ends_at = |blocks: u32| recorded.prefix.tokens_of(blocks as usize) * scale;
    let slack = |blocks: u32| slack(recorded, blocks, cached, scale);
    let cached_tokens = cached as f64;
    let mut oldest: Option<f64> = None;
    let mut begin = 0.0;
    for span in recorded.spans.iter().take_while(|span| span.sure) {
        let end = ends_at(span.end);
        if end > cached_tokens + slack(span.end) {
            // What had lapsed is no surprise.
            let predicted = span.end <= recorded.matched;
            return if predicted {
                Some(Evidence::Gone(span.age.max(1.0)))
            } else {
                oldest.map(Evidence::Held)
            };
        }
        if cached_tokens < f64::midpoint(begin, end) {
            break;
        }
        oldest = Some(oldest.map_or(span.age, |age| age.max(span.age)));
        begin = end;
    }
    oldest.map(Evidence::Held)
}

/// Whether what only a snapshot says of the worker is true; None where the answer does not tell.
fn snapshot_holds(recorded: &Recorded, cached: u64, scale: f64) -> Option<bool> {
    let sure = recorded.spans.iter().take_while(|span| span.sure);
    let sure = sure.last().map_or(0, |span| span.end);
    let unsure = recorded.spans.iter().rfind(|span| !span.sure)?;
    let ends_at = |blocks: u32| recorded.prefix.tokens_of(blocks as usize) * scale;
    let slack = slack(recorded, unsure.end, cached, scale);
    let known = ends_at(sure) + slack;
    if cached as f64 > known {
        return Some(true);
    }
    (ends_at(unsure.end) > known + slack).then_some(false)
}

/// By how many tokens an engine's count may fall short, or be over, where a span of so many blocks ends.
fn slack(recorded: &Recorded, blocks: u32, cached: u64, scale: f64) -> f64 {
    let ends_at = |blocks: u32| recorded.prefix.tokens_of(blocks as usize) * scale;
    let block = ends_at(blocks) - ends_at(blocks.saturating_sub(1));
    engine_block(cached) + 1.0 + block / 2.0
}

/// Tokens of the engine's block, or more: what it counts is a multiple of it.
const fn engine_block(cached: u64) -> f64 {
    let bits = cached.trailing_zeros();
    let bits = if bits < ENGINE_BLOCK_BITS {
        bits
    } else {
        ENGINE_BLOCK_BITS
    };
    (1_u64 << bits) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::Prefix;
    use crate::ids::Slot;
    use crate::tree::Span;

    fn span(end: u32, age: f64) -> Span {
        Span {
            end,
            age,
            sure: true,
        }
    }

    fn recorded(matched: u32) -> Recorded {
        Recorded {
            prefix: Prefix::of_blocks((0..10).collect(), 512, 5_120),
            slot: Slot::new(0),
            matched,
            uncached: 0.0,
            spans: vec![span(2, 10.0), span(6, 500.0), span(8, 9_000.0)],
            model: None,
        }
    }

    #[test]
    fn the_first_span_that_is_gone_tells_its_age() {
        let says = |matched, cached| evidence(&recorded(matched), cached, 1.0);
        assert_eq!(says(6, 0), Some(Evidence::Gone(10.0)));
        assert_eq!(says(6, 1_024), Some(Evidence::Gone(500.0)));
        assert_eq!(says(6, 3_072), Some(Evidence::Held(500.0)));
        assert_eq!(
            says(6, 3_072 - 64),
            Some(Evidence::Held(500.0)),
            "an engine's own blocks are no loss"
        );
        assert_eq!(says(8, 3_072), Some(Evidence::Gone(9_000.0)));
        assert_eq!(
            says(6, 4_096),
            Some(Evidence::Held(9_000.0)),
            "what had lapsed and is there says the most"
        );
    }

    #[test]
    fn a_span_shorter_than_the_engines_blocks_says_nothing() {
        let recorded = Recorded {
            prefix: Prefix::of_blocks((0..40).collect(), 16, 640),
            spans: vec![span(10, 10.0), span(12, 50.0), span(40, 90.0)],
            matched: 40,
            ..recorded(0)
        };
        let says = |cached| evidence(&recorded, cached, 1.0);
        assert_eq!(says(128), Some(Evidence::Held(10.0)), "blocks of 64, maybe");
        assert_eq!(says(160), Some(Evidence::Held(10.0)), "blocks of 32, maybe");
        assert_eq!(says(208), Some(Evidence::Gone(90.0)));
        assert_eq!(says(16), Some(Evidence::Gone(10.0)));
    }
}
