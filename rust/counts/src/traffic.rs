//! Counts HTTP requests by what was asked and answered, and keeps the latest durations for quantiles.
//!
//! Methods and endpoints are those that were named at the start and one other, so whatever clients ask for, the
//! memory is bounded: 600 statuses and [`WINDOW`] durations for each pair. An endpoint whose name ends with a part in
//! braces, as `/v1/models/{id}`, has all paths that end with something else there.

use std::collections::{BTreeMap, VecDeque};

use parking_lot::Mutex;

/// The label of what was not named.
pub const OTHER: &str = "other";

/// Latest durations of a method and endpoint that its quantiles are taken from.
pub const WINDOW: usize = 1024;

/// Milliseconds after which a duration leaves the window: the default of Go's client.
pub const WINDOW_AGE: u64 = 600_000;

/// The quantiles.
pub const QUANTILES: [f64; 2] = [0.95, 0.99];

/// Method and endpoint, as indices; one past the last is [`OTHER`].
type Key = (usize, usize);

/// Requests of one method and endpoint.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// The method, or [`OTHER`].
    pub method: String,
    /// The endpoint, or [`OTHER`].
    pub endpoint: String,
    /// Requests by status.
    pub statuses: Vec<(u16, u64)>,
    /// Sum of their durations in seconds.
    pub seconds: f64,
    /// [`QUANTILES`] of the latest durations in seconds; NaN where none is young enough.
    pub quantiles: [f64; QUANTILES.len()],
}

/// Counts HTTP requests. Times are milliseconds on one clock.
#[derive(Debug)]
pub struct Traffic {
    methods: Vec<String>,
    endpoints: Vec<String>,
    tallies: Mutex<BTreeMap<Key, Tally>>,
}

#[derive(Debug, Clone, Default)]
struct Tally {
    statuses: BTreeMap<u16, u64>,
    seconds: f64,
    latest: VecDeque<(u64, f64)>,
}

impl Traffic {
    /// Nothing counted. Whatever is not named counts as [`OTHER`].
    pub fn new(methods: Vec<String>, endpoints: Vec<String>) -> Self {
        Self {
            methods,
            endpoints,
            tallies: Mutex::default(),
        }
    }

    /// Counts one request for a path that took `seconds`.
    pub fn note(&self, method: &str, path: &str, status: u16, seconds: f64, now: u64) {
        let key = (index(&self.methods, method), place(&self.endpoints, path));
        let mut tallies = self.tallies.lock();
        let tally = tallies.entry(key).or_default();
        *tally.statuses.entry(status).or_default() += 1;
        tally.seconds += seconds;
        if tally.latest.len() == WINDOW {
            tally.latest.pop_front();
        }
        tally.latest.push_back((now, seconds));
    }

    /// What was counted, by method and endpoint in the order in which they were named.
    pub fn snapshot(&self, now: u64) -> Vec<Series> {
        let tallies = self.tallies.lock().clone();
        let series = |((method, endpoint), tally): (Key, Tally)| Series {
            method: name(&self.methods, method),
            endpoint: name(&self.endpoints, endpoint),
            quantiles: tally.quantiles(now.saturating_sub(WINDOW_AGE)),
            seconds: tally.seconds,
            statuses: tally.statuses.into_iter().collect(),
        };
        tallies.into_iter().map(series).collect()
    }
}

impl Tally {
    fn quantiles(&self, oldest: u64) -> [f64; QUANTILES.len()] {
        let young = self.latest.iter().filter(|(made, _)| *made >= oldest);
        let mut values: Vec<f64> = young.map(|(_, seconds)| *seconds).collect();
        values.sort_unstable_by(f64::total_cmp);
        QUANTILES.map(|quantile| {
            let rank = (quantile * values.len() as f64).ceil() as usize;
            values
                .get(rank.wrapping_sub(1))
                .copied()
                .unwrap_or(f64::NAN)
        })
    }
}

fn index(names: &[String], name: &str) -> usize {
    names
        .iter()
        .position(|known| known == name)
        .unwrap_or(names.len())
}

/// The endpoint that a path belongs to: the one of this name, else one with a part in braces.
fn place(endpoints: &[String], path: &str) -> usize {
    let within = |endpoint: &String| {
        let parent = endpoint.split_once('{').map(|(parent, _)| parent);
        parent.is_some_and(|parent| path.len() > parent.len() && path.starts_with(parent))
    };
    match index(endpoints, path) {
        none if none == endpoints.len() => endpoints.iter().position(within).unwrap_or(none),
        named => named,
    }
}

fn name(names: &[String], index: usize) -> String {
    names.get(index).map_or(OTHER, String::as_str).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn traffic() -> Traffic {
        Traffic::new(
            vec!["GET".to_owned(), "POST".to_owned()],
            vec!["/a".to_owned()],
        )
    }

    #[test]
    fn requests_are_counted_by_status() {
        let traffic = traffic();
        for status in [200, 404, 200] {
            traffic.note("POST", "/a", status, 0.5, 0);
        }
        traffic.note("GET", "/a", 200, 1.0, 0);
        let snapshot = traffic.snapshot(0);
        assert_eq!(snapshot.len(), 2);
        assert_eq!(
            (snapshot[1].method.as_str(), snapshot[1].endpoint.as_str()),
            ("POST", "/a")
        );
        assert_eq!(snapshot[1].statuses, [(200, 2), (404, 1)]);
        assert!((snapshot[1].seconds - 1.5).abs() < f64::EPSILON);
    }

    #[test]
    fn what_was_not_named_shares_one_series() {
        let traffic = traffic();
        for number in 0..100 {
            traffic.note(&format!("M{number}"), &format!("/{number}"), 404, 0.0, 0);
        }
        let snapshot = traffic.snapshot(0);
        assert_eq!(snapshot.len(), 1);
        assert_eq!(
            (snapshot[0].method.as_str(), snapshot[0].endpoint.as_str()),
            (OTHER, OTHER)
        );
    }

    #[test]
    fn what_ends_with_anything_is_one_endpoint() {
        let endpoints = ["/m", "/m/{id}", "/m/own"].map(str::to_owned);
        let traffic = Traffic::new(vec!["GET".to_owned()], endpoints.to_vec());
        for path in ["/m", "/m/a", "/m/a/b", "/m/{id}", "/m/own", "/m/", "/mm"] {
            traffic.note("GET", path, 200, 0.0, 0);
        }
        let snapshot = traffic.snapshot(0);
        let counts = snapshot
            .iter()
            .map(|series| (series.endpoint.as_str(), series.statuses[0].1));
        let counts: Vec<_> = counts.collect();
        assert_eq!(
            counts,
            [("/m", 1), ("/m/{id}", 3), ("/m/own", 1), (OTHER, 2)]
        );
    }

    #[test]
    fn quantiles_are_those_of_the_window() {
        let traffic = traffic();
        for number in 0..2 * WINDOW {
            traffic.note("GET", "/a", 200, number as f64, 5);
        }
        let quantiles = traffic.snapshot(5)[0].quantiles;
        // Ranks 973 and 1014 of the latest 1,024, which begin at 1,024.
        assert_eq!(
            quantiles.map(|value| value as usize),
            [WINDOW + 972, WINDOW + 1013]
        );
        assert!(traffic.snapshot(WINDOW_AGE + 6)[0].quantiles[0].is_nan());
        traffic.note("GET", "/a", 200, 7.0, WINDOW_AGE + 6);
        assert!((traffic.snapshot(WINDOW_AGE + 6)[0].quantiles[1] - 7.0).abs() < f64::EPSILON);
    }
}
