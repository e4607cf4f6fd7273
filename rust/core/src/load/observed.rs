//! What an engine says of its own load.

use std::sync::atomic::{AtomicU64, Ordering};

/// An engine's own counts and when they were taken: running, less the routers' count at that time, and waiting.
///
/// The pair stands in one word, so a reader never sees half of a change; `f32` is exact for counts up to 16 million.
#[derive(Debug, Default)]
pub(super) struct Observed {
    pair: AtomicU64,
    /// Milliseconds plus one; 0 is never.
    stamp: AtomicU64,
}

impl Observed {
    pub(super) fn set(&self, running: f64, waiting: f64, now: u64) {
        let pair =
            u64::from((running as f32).to_bits()) << 32 | u64::from((waiting as f32).to_bits());
        self.pair.store(pair, Ordering::Relaxed);
        self.stamp.store(now + 1, Ordering::Release);
    }

    pub(super) fn get(&self, now: u64, max_age: u64) -> Option<(f64, f64)> {
        let stamp = self.stamp.load(Ordering::Acquire).checked_sub(1)?;
        if now.saturating_sub(stamp) > max_age {
            return None;
        }
        let pair = self.pair.load(Ordering::Relaxed);
        Some((
            f32::from_bits((pair >> 32) as u32).into(),
            f32::from_bits(pair as u32).into(),
        ))
    }
}
