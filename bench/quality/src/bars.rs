//! What `least_work` is held to: its figures over those of the best other rule, each figure for itself.
//!
//! The best for the first token and the best end to end are two rules in most scenarios; `least_work` has to be beside
//! both at once.

use fd_router_simulate::Report;

use crate::contender::{Contender, Knows};
use crate::table::Row;

/// Bars of one scenario, with the capacities known and with what answers say of them alone.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bars {
    told: Limits,
    learned: Limits,
}

/// What may not be exceeded; None is not looked at.
#[derive(Debug, Clone, Copy)]
struct Limits {
    /// Mean first token, over the best.
    first: Option<f64>,
    /// Mean end to end, over the best.
    whole: Option<f64>,
    /// Requests of the busiest worker over the mean.
    balance: Option<f64>,
}

const fn both(first: f64, whole: f64) -> Limits {
    Limits {
        first: Some(first),
        whole: Some(whole),
        balance: None,
    }
}

const fn bars(first: f64, whole: f64) -> Bars {
    Bars {
        told: both(first, whole),
        learned: both(1.0, 1.04),
    }
}

pub(crate) const SERIAL: Bars = bars(0.97, 1.01);
pub(crate) const EIGHT: Bars = bars(0.97, 1.02);
pub(crate) const DENSE: Bars = bars(0.97, 1.03);
pub(crate) const FOUR: Bars = bars(0.98, 1.02);
pub(crate) const AGENTS: Bars = bars(1.0, 1.02);
pub(crate) const LIGHT: Bars = Bars {
    told: both(1.03, 1.03),
    learned: both(1.03, 1.03),
};
pub(crate) const HALF_SLOW: Bars = same(Limits {
    first: Some(1.0),
    whole: None,
    balance: None,
});
pub(crate) const ONE_PREFIX: Bars = same(Limits {
    first: None,
    whole: None,
    balance: Some(1.3),
});

const fn same(limits: Limits) -> Bars {
    Bars {
        told: limits,
        learned: limits,
    }
}

/// One figure beside its bar.
#[derive(Debug)]
pub(crate) struct Check {
    pub(crate) scenario: String,
    pub(crate) who: &'static str,
    pub(crate) what: &'static str,
    pub(crate) value: f64,
    pub(crate) limit: f64,
}

impl Check {
    pub(crate) fn holds(&self) -> bool {
        self.value <= self.limit
    }
}

impl Bars {
    /// Compares the rows of a scenario with its bars.
    pub(crate) fn check(&self, rows: &[Row]) -> Vec<Check> {
        let others = || rows.iter().filter(|row| !row.contender.is_ours());
        let best = |of: fn(&Report) -> f64| {
            let figures = others().map(|row| of(&row.report));
            figures.fold(f64::INFINITY, f64::min)
        };
        let (first, whole) = (best(first), best(whole));
        let mut checks = Vec::new();
        for row in rows {
            let limits = match row.contender {
                Contender::LeastWork(Knows::Told) => self.told,
                Contender::LeastWork(Knows::Learned) => self.learned,
                _ => continue,
            };
            let report = &row.report;
            let figures = [
                ("first token", report.first_token.mean / first, limits.first),
                ("end to end", report.end_to_end.mean / whole, limits.whole),
                ("busiest / mean", report.balance, limits.balance),
            ];
            checks.extend(figures.into_iter().filter_map(|(what, value, limit)| {
                Some(Check {
                    scenario: row.scenario.to_owned(),
                    who: row.policy,
                    what,
                    value,
                    limit: limit?,
                })
            }));
        }
        checks
    }
}

const fn first(report: &Report) -> f64 {
    report.first_token.mean
}

const fn whole(report: &Report) -> f64 {
    report.end_to_end.mean
}

/// Prints the table. Returns how many bars do not hold.
pub(crate) fn print(checks: &[Check]) -> usize {
    println!("\nleast_work beside the best of the others, and its bars");
    for check in checks {
        println!(
            "{:<56}{:<26}{:<16}{:>7.3}{:>7.2}  {}",
            check.scenario,
            check.who,
            check.what,
            check.value,
            check.limit,
            if check.holds() { "PASS" } else { "MISS" }
        );
    }
    let missed = checks.iter().filter(|check| !check.holds()).count();
    println!("{missed} of {} bars missed", checks.len());
    missed
}
