//! Bars that compare `least_work` with itself.

use fd_router_simulate::{NoSuchWorker, Record, Report, Trace};

use crate::bars::Check;
use crate::contender::{Contender, Knows};
use crate::scenario::Scenario;

/// Half of the answers whole: no first byte shows when their prompts are through.
pub(crate) fn half_unary(scenario: &Scenario, trace: &Trace) -> Result<Vec<Check>, NoSuchWorker> {
    let mut mixed = trace.clone();
    for request in mixed.requests.iter_mut().step_by(2) {
        request.streamed = false;
    }
    let contender = Contender::LeastWork(Knows::Told);
    let fleet = scenario.fleet(trace);
    let report = |trace: &Trace| {
        let records = contender.run(trace, &fleet)?;
        Ok(Report::new(&records, scenario.engines))
    };
    let (streamed, mixed) = (report(trace)?, report(&mixed)?);
    let figures = [
        ("first token", mixed.first_token, streamed.first_token),
        ("end to end", mixed.end_to_end, streamed.end_to_end),
    ];
    let checks = figures.map(|(what, mixed, streamed)| Check {
        scenario: format!("{}: half unary / streamed", scenario.name),
        who: contender.name(),
        what,
        value: mixed.mean / streamed.mean,
        limit: 1.1,
    });
    Ok(checks.into())
}

/// Requests after which a capacity should have been learned anew.
const ENOUGH: usize = 200;

/// An engine's cache is halved in the middle of the traffic, and nobody is told.
pub(crate) fn halved(scenario: &Scenario, trace: &Trace) -> Result<Vec<Check>, NoSuchWorker> {
    let contender = Contender::LeastWork(Knows::Nothing);
    let whole = contender.run(trace, &scenario.fleet(trace))?;
    let at = whole.iter().map(|record| record.end).max().unwrap_or(0) / 2;
    let fleet = scenario.halved(trace, at);
    let check = |knows| {
        let contender = Contender::LeastWork(knows);
        let records = contender.run(trace, &fleet)?;
        Ok(Check {
            scenario: format!("{}: a cache halved silently", scenario.name),
            who: contender.name(),
            what: "over-predicted",
            value: over_predicted(&records, at),
            limit: 0.05,
        })
    };
    [Knows::Both, Knows::Learned]
        .into_iter()
        .map(check)
        .collect()
}

/// Share of prompt tokens that were predicted and gone at the first engine, once it had enough requests after `at`.
fn over_predicted(records: &[Record], at: u64) -> f64 {
    let mut mine: Vec<&Record> = records
        .iter()
        .filter(|record| record.worker == 0 && record.arrival >= at)
        .collect();
    mine.sort_by_key(|record| record.arrival);
    let late = mine.into_iter().skip(ENOUGH);
    let (gone, asked) = late.fold((0, 0), |(gone, asked), record| {
        let predicted = record.predicted_tokens.unwrap_or_default();
        let more = predicted.saturating_sub(record.cached_tokens);
        (gone + more, asked + record.input_tokens)
    });
    gone as f64 / asked.max(1) as f64
}
