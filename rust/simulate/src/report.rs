//! A run in a few numbers.

use serde::Serialize;

use crate::chooser::Outcome;
use crate::record::Record;

/// A run. Shares are from 0 to 1, times are milliseconds; what no request gave is 0.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Report {
    /// Requests, errors included.
    pub requests: usize,
    /// Requests that were refused. They count in nothing below but the balance.
    pub errors: usize,
    /// Cached prompt tokens over prompt tokens.
    pub hit: f64,
    /// The same as the chooser predicted it; None when it had no opinion on some request.
    pub predicted_hit: Option<f64>,
    /// Prompt tokens predicted and not found, over prompt tokens.
    pub over_predicted: Option<f64>,
    /// Requests of the busiest worker (for prompts) over the mean.
    pub balance: f64,
    /// From arrival to first token.
    pub first_token: Spread,
    /// From the first token to the last, by token; answers of one token have none.
    pub token_mean: f64,
    /// From arrival to last token.
    pub end_to_end: Spread,
    /// From the first arrival to the last end.
    pub makespan: f64,
}

/// A distribution, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Spread {
    /// The mean.
    pub mean: f64,
    /// The median.
    pub p50: f64,
    /// What nine of ten do not exceed.
    pub p90: f64,
    /// What 99 of 100 do not exceed.
    pub p99: f64,
}

impl Report {
    /// Sums up records of a run on `workers` workers (for prompts).
    pub fn new(records: &[Record], workers: usize) -> Self {
        let served: Vec<&Record> = records
            .iter()
            .filter(|record| record.outcome == Outcome::Served)
            .collect();
        let tokens = |of: fn(&Record) -> usize| -> f64 {
            served.iter().map(|record| of(record)).sum::<usize>() as f64
        };
        let prompts = tokens(|record| record.input_tokens).max(1.0);
        let opinion = !served.is_empty()
            && served
                .iter()
                .all(|record| record.predicted_tokens.is_some());
        let predicted =
            opinion.then(|| tokens(|record| record.predicted_tokens.unwrap_or_default()) / prompts);
        let over = opinion.then(|| tokens(over_predicted) / prompts);
        let paces = served.iter().filter(|record| record.output_tokens > 1);
        let paces = paces
            .map(|record| (record.end - record.first) as f64 / (record.output_tokens - 1) as f64);
        let first_arrival = records.iter().map(|record| record.arrival).min();
        let last_end = records.iter().map(|record| record.end).max();
        Self {
            requests: records.len(),
            errors: records.len() - served.len(),
            hit: tokens(|record| record.cached_tokens) / prompts,
            predicted_hit: predicted,
            over_predicted: over,
            balance: balance(records, workers),
            first_token: Spread::new(served.iter().map(|record| record.first - record.arrival)),
            token_mean: mean(paces) / 1_000.0,
            end_to_end: Spread::new(served.iter().map(|record| record.end - record.arrival)),
            makespan: millis(last_end.unwrap_or(0) - first_arrival.unwrap_or(0)),
        }
    }
}

impl Spread {
    fn new(micros: impl Iterator<Item = u64>) -> Self {
        let mut sorted: Vec<u64> = micros.collect();
        if sorted.is_empty() {
            return Self::default();
        }
        sorted.sort_unstable();
        // Nearest rank: the smallest value that is not below the wanted share of them.
        let at = |percent: usize| {
            let rank = (sorted.len() * percent).div_ceil(100).max(1);
            millis(sorted[rank - 1])
        };
        Self {
            mean: mean(sorted.iter().map(|&micros| micros as f64)) / 1_000.0,
            p50: at(50),
            p90: at(90),
            p99: at(99),
        }
    }
}

fn over_predicted(record: &Record) -> usize {
    let predicted = record.predicted_tokens.unwrap_or_default();
    predicted.saturating_sub(record.cached_tokens)
}

fn balance(records: &[Record], workers: usize) -> f64 {
    let mut counts = vec![0_usize; workers.max(1)];
    for record in records {
        if let Some(count) = counts.get_mut(record.worker) {
            *count += 1;
        }
    }
    let busiest = counts.iter().copied().max().unwrap_or(0);
    (busiest * counts.len()) as f64 / records.len().max(1) as f64
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (mut sum, mut count) = (0.0, 0_usize);
    for value in values {
        sum += value;
        count += 1;
    }
    sum / count.max(1) as f64
}

fn millis(micros: u64) -> f64 {
    micros as f64 / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(worker: usize, first: u64, end: u64) -> Record {
        Record {
            request: 0,
            worker,
            decode_worker: None,
            arrival: 1_000,
            first,
            end,
            input_tokens: 100,
            output_tokens: 3,
            cached_tokens: 50,
            predicted_tokens: Some(75),
            outcome: Outcome::Served,
        }
    }

    #[test]
    fn served_requests_are_summed_up() {
        let refused = Record {
            outcome: Outcome::Refused,
            ..record(1, 1_000, 1_000)
        };
        let records = [record(0, 3_000, 7_000), record(0, 5_000, 5_000), refused];
        let report = Report::new(&records, 2);
        assert_eq!((report.requests, report.errors), (3, 1));
        let close = |value: f64, wanted: f64| assert!((value - wanted).abs() < 1e-9, "{value}");
        close(report.hit, 0.5);
        close(report.predicted_hit.unwrap(), 0.75);
        close(report.over_predicted.unwrap(), 0.25);
        close(report.balance, 4.0 / 3.0);
        close(report.first_token.mean, 3.0);
        close(report.first_token.p50, 2.0);
        close(report.first_token.p99, 4.0);
        close(report.token_mean, 1.0);
        close(report.end_to_end.mean, 5.0);
        close(report.makespan, 6.0);
    }

    #[test]
    fn nothing_gives_nothing() {
        let report = Report::new(&[], 0);
        assert_eq!(report.requests, 0);
        assert_eq!(report.predicted_hit, None);
        assert_eq!(report.first_token, Spread::default());
    }
}
