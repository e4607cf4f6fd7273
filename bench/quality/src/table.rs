//! Results for people.

use fd_router_simulate::Report;
use serde::Serialize;

use crate::contender::Contender;

/// One policy on one scenario.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) scenario: &'static str,
    pub(crate) policy: &'static str,
    #[serde(skip)]
    pub(crate) contender: Contender,
    pub(crate) report: Report,
    /// What the run took, by the clock.
    #[serde(skip)]
    pub(crate) seconds: f64,
}

/// A scenario's table. Times are milliseconds.
pub(crate) fn print(rows: &[Row]) {
    let Some(first) = rows.first() else {
        return;
    };
    println!("\n{} ({} requests)", first.scenario, first.report.requests);
    println!(
        "{:<26}{:>7}{:>7}{:>9}{:>8}{:>8}{:>8}{:>8}{:>8}{:>9}{:>9}{:>8}{:>7}",
        "",
        "hit",
        "pred.",
        "balance",
        "TTFT",
        "p50",
        "p90",
        "p99",
        "token",
        "e2e",
        "p99",
        "errors",
        "s"
    );
    for row in rows {
        let report = &row.report;
        let (first, whole) = (report.first_token, report.end_to_end);
        println!(
            "{:<26}{:>7.3}{:>7.3}{:>9.2}{:>8.0}{:>8.0}{:>8.0}{:>8.0}{:>8.2}{:>9.0}{:>9.0}{:>8}{:>7.2}",
            row.policy,
            report.hit,
            report.predicted_hit.unwrap_or_default(),
            report.balance,
            first.mean,
            first.p50,
            first.p90,
            first.p99,
            report.token_mean,
            whole.mean,
            whole.p99,
            report.errors,
            row.seconds
        );
    }
}
