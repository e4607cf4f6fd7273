//! Counts values by bounds, without locks.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Units of one in the sum, which is a whole number so that it can be added to without a lock: 18 billion fit.
const UNITS: f64 = 1e9;

/// Values counted by upper bounds, which are ascending. A value that equals a bound is within it.
#[derive(Debug)]
pub struct Histogram {
    bounds: Box<[f64]>,
    counts: Box<[AtomicU64]>,
    sum: AtomicU64,
}

/// What a histogram has counted.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    /// Values by the lowest bound they are within, not cumulated; the last count is of those above every bound.
    pub buckets: Vec<u64>,
    /// Sum of the values, each to a billionth.
    pub sum: f64,
}

impl Histogram {
    /// Nothing counted yet.
    pub fn new(bounds: &[f64]) -> Self {
        Self {
            bounds: bounds.into(),
            counts: (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect(),
            sum: AtomicU64::new(0),
        }
    }

    /// Counts `value`, which is not negative.
    pub fn observe(&self, value: f64) {
        let bucket = self.bounds.partition_point(|bound| *bound < value);
        if let Some(count) = self.counts.get(bucket) {
            count.fetch_add(1, Relaxed);
        }
        let units = (value * UNITS).round() as u64;
        self.sum.fetch_add(units, Relaxed);
    }

    /// What was counted so far. Values that are counted meanwhile may be in one part and not in the other.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            buckets: self
                .counts
                .iter()
                .map(|count| count.load(Relaxed))
                .collect(),
            sum: self.sum.load(Relaxed) as f64 / UNITS,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_falls_into_the_bucket_of_its_bound() {
        let histogram = Histogram::new(&[0.0, 0.5, 1.0]);
        for value in [0.0, 0.25, 0.5, 0.75, 20.0] {
            histogram.observe(value);
        }
        let snapshot = histogram.snapshot();
        assert_eq!(snapshot.buckets, [1, 2, 1, 1]);
        assert!((snapshot.sum - 21.5).abs() < f64::EPSILON);
    }
}
