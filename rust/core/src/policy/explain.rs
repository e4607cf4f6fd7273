//! The sentence that upstream (the Go router) logs about a cache-aware decision, word for word.

use std::sync::Arc;

use super::rule::{Candidate, Fallback, Verdict};

/// What a cache-aware decision saw; turned into words only where it is logged.
#[derive(Debug, Clone)]
pub struct Explanation {
    /// The candidates, ascending by url.
    pub(crate) candidates: Arc<[Candidate]>,
    /// The chosen one.
    pub(crate) index: usize,
    pub(crate) verdict: Verdict,
}

impl Explanation {
    /// The log message without its time stamp; None where there is nothing to tell.
    pub fn text(&self) -> Option<String> {
        match &self.verdict {
            Verdict::Plain | Verdict::Weighed { .. } => None,
            Verdict::FellBack(fallback) => Some(self.fell_back(fallback)),
            Verdict::Scored { loads, hits, .. } => Some(self.scored(loads, hits)),
        }
    }

    fn fell_back(&self, fallback: &Fallback) -> String {
        let mut text = self.begin("process_tokens, reason: ");
        text.push_str(fallback.reason());
        if let Fallback::Imbalanced(loads) = fallback {
            self.push_loads(&mut text, loads);
        }
        text
    }

    fn scored(&self, loads: &[u64], hits: &[(u32, u8)]) -> String {
        let mut text = self.begin("cache_aware_scoring, selected=");
        text.push_str(self.url(self.index));
        self.push_loads(&mut text, loads);
        text.push_str(", hitRatios=");
        let hits = hits.iter();
        push_map(
            &mut text,
            hits.map(|&(index, percent)| (self.url(index as usize), percent.into())),
        );
        text
    }

    fn begin(&self, strategy: &str) -> String {
        // Room for two entries of each candidate.
        let mut text = String::with_capacity(128 + 64 * self.candidates.len());
        text.push_str("cache-aware prefill: final strategy: ");
        text.push_str(strategy);
        text
    }

    fn push_loads(&self, text: &mut String, loads: &[u64]) {
        text.push_str(", loads=");
        let loads = loads.iter().enumerate();
        push_map(text, loads.map(|(index, &load)| (self.url(index), load)));
    }

    fn url(&self, index: usize) -> &str {
        self.candidates[index].worker.url()
    }
}

/// Appends pairs, sorted by key, as Go prints a map: `map[a:1 b:2]`.
fn push_map<'a>(text: &mut String, pairs: impl Iterator<Item = (&'a str, u64)>) {
    text.push_str("map[");
    for (place, (key, value)) in pairs.enumerate() {
        if place > 0 {
            text.push(' ');
        }
        text.push_str(key);
        text.push(':');
        text.push_str(itoa::Buffer::new().format(value));
    }
    text.push(']');
}
