//! What a run amounts to: counts and quantiles, as one JSON line.

use std::time::Duration;

use crate::Failure;
use crate::exchange::Outcome;

/// Sums over any number of answers.
#[derive(Default)]
pub(crate) struct Tally {
    first: Vec<f64>,
    whole: Vec<f64>,
    bytes: u64,
    chunks: u64,
    errors: u64,
    error: Option<String>,
}

impl Tally {
    pub(crate) fn add(&mut self, result: Result<Outcome, Failure>) {
        match result {
            Ok(outcome) => {
                self.first.push(micros(outcome.first));
                self.whole.push(micros(outcome.whole));
                self.bytes += outcome.bytes;
                self.chunks += outcome.chunks;
            }
            Err(error) => {
                self.errors += 1;
                self.error.get_or_insert_with(|| error.to_string());
            }
        }
    }

    pub(crate) fn merge(&mut self, other: Self) {
        self.first.extend(other.first);
        self.whole.extend(other.whole);
        self.bytes += other.bytes;
        self.chunks += other.chunks;
        self.errors += other.errors;
        self.error = self.error.take().or(other.error);
    }

    pub(crate) fn json(mut self, elapsed: Duration) -> String {
        format!(
            r#"{{"requests":{},"errors":{},"error":"{}","elapsed":{:.6},"chunks":{},"bytes":{},"latency_us":{},"ttft_us":{}}}"#,
            self.whole.len(),
            self.errors,
            self.error.unwrap_or_default().escape_default(),
            elapsed.as_secs_f64(),
            self.chunks,
            self.bytes,
            quantiles(&mut self.whole),
            quantiles(&mut self.first),
        )
    }
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

fn quantiles(values: &mut [f64]) -> String {
    values.sort_unstable_by(f64::total_cmp);
    let at = |share: f64| {
        let rank = (share * values.len().saturating_sub(1) as f64).round() as usize;
        values.get(rank).copied().unwrap_or(0.0)
    };
    format!(
        r#"{{"p50":{:.1},"p90":{:.1},"p99":{:.1},"max":{:.1}}}"#,
        at(0.5),
        at(0.9),
        at(0.99),
        at(1.0)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_take_the_nearest_rank() {
        let mut values: Vec<f64> = (0..=100).rev().map(f64::from).collect();
        assert_eq!(
            quantiles(&mut values),
            r#"{"p50":50.0,"p90":90.0,"p99":99.0,"max":100.0}"#
        );
        assert_eq!(
            quantiles(&mut []),
            r#"{"p50":0.0,"p90":0.0,"p99":0.0,"max":0.0}"#
        );
    }

    #[test]
    fn the_first_error_is_kept() {
        let mut tally = Tally::default();
        tally.add(Err("one \"quoted\"".into()));
        tally.add(Err("two".into()));
        let json = tally.json(Duration::from_secs(1));
        assert!(
            json.contains(r#""errors":2,"error":"one \"quoted\"""#),
            "{json}"
        );
    }
}
