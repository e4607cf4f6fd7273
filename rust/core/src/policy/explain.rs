//! The sentence that upstream (the Go router) logs about a cache-aware decision, word for word.

use std::fmt::{self, Display, Write};
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
        let text = match &self.verdict {
            Verdict::Plain => return None,
            Verdict::FellBack(fallback) => {
                let loads = match fallback {
                    Fallback::Imbalanced(loads) => format!(", loads={}", self.loads(loads)),
                    Fallback::EmptyPrompt => String::new(),
                };
                format!(
                    "final strategy: process_tokens, reason: {}{loads}",
                    fallback.reason()
                )
            }
            Verdict::Scored { loads, hits, .. } => format!(
                "final strategy: cache_aware_scoring, selected={}, loads={}, hitRatios={}",
                self.url(self.index),
                self.loads(loads),
                GoMap(|| hits
                    .iter()
                    .map(|&(index, percent)| (self.url(index as usize), percent))),
            ),
        };
        Some(format!("cache-aware prefill: {text}"))
    }

    fn loads(&self, loads: &[u64]) -> impl Display {
        GoMap(|| {
            loads
                .iter()
                .enumerate()
                .map(|(index, load)| (self.url(index), load))
        })
    }

    fn url(&self, index: usize) -> &str {
        self.candidates[index].worker.url()
    }
}

/// Pairs, sorted by key, as Go prints a map: `map[a:1 b:2]`.
struct GoMap<F>(F);

impl<F, I, K, V> Display for GoMap<F>
where
    F: Fn() -> I,
    I: Iterator<Item = (K, V)>,
    K: Display,
    V: Display,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("map[")?;
        for (place, (key, value)) in (self.0)().enumerate() {
            if place > 0 {
                f.write_char(' ')?;
            }
            write!(f, "{key}:{value}")?;
        }
        f.write_char(']')
    }
}
