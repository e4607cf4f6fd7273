//! Bars of several routers before the same engines, beside one router.
//!
//! The trace gives times in steps of 3 s, so ten requests come at once. Requests of the same moment cannot know of each
//! other, however routers talk; so the bars of what replicas cost are of the same trace with each request at some time
//! within its step. As recorded it shows what an order of each router's own is good for.

use fd_router_core::policy::{Policy, Settings};
use fd_router_simulate::{
    Arrival, Exchange, NoSuchWorker, Report, Routers, Setup, Trace, simulate,
};

use crate::bars::Check;
use crate::contender::{Knows, setup};
use crate::scenario::Scenario;

/// Microseconds of a step of the trace's times.
const STEP: u64 = 3_000_000;
/// Hit rate that may be lost.
const HIT: f64 = 0.02;

pub(crate) fn checks(scenario: &Scenario, trace: &Trace) -> Result<Vec<Check>, NoSuchWorker> {
    let spread = spread(trace);
    let mut checks = Vec::new();
    for (who, setup) in policies() {
        let run = |trace: &Trace, exchange: Exchange| {
            let fleet = scenario.fleet(trace);
            let mut routers = Routers::new(&setup, exchange, &fleet, trace.block_size);
            let records = simulate(trace, &fleet, &mut routers, |_| ())?;
            Ok(Report::new(&records, scenario.engines))
        };
        let mut check = |form: &str, what, value, limit| {
            let scenario = format!("{}: {form}", scenario.name);
            checks.push(Check {
                scenario,
                who,
                what,
                value,
                limit,
            });
        };
        let one = run(&spread, Exchange::new(1, 0))?;
        let three = run(&spread, Exchange::new(3, 100_000))?;
        let first = three.first_token.mean / one.first_token.mean;
        check("3 x 100 ms / 1", "first token", first, 1.05);
        check("1 - 3 x 100 ms", "hit rate", one.hit - three.hit, HIT);
        for (form, trace, exchange) in [
            (
                "5 x 500 ms, rule / none",
                &spread,
                Exchange::new(5, 500_000),
            ),
            ("bursts, rule / none", trace, Exchange::new(3, 100_000)),
        ] {
            let unnamed = Exchange {
                named: false,
                ..exchange
            };
            let (with, without) = (run(trace, exchange)?, run(trace, unnamed)?);
            let first = with.first_token.mean / without.first_token.mean;
            check(form, "first token", first, 1.0);
        }
    }
    Ok(checks)
}

/// The policies that replicas are held to, by name.
fn policies() -> [(&'static str, Setup); 2] {
    let ours = setup(Knows::Both);
    let wide = Setup {
        policy: Policy::CacheAware,
        decode_policy: Policy::CacheAware,
        settings: Settings {
            balance_abs_threshold: 8.0,
            balance_rel_threshold: 0.5,
            load_balance_weight: 0.05,
            ..ours.settings
        },
        ..ours.clone()
    };
    [("least_work", ours), ("cache_aware, wide", wide)]
}

/// Each request at some time within its step.
fn spread(trace: &Trace) -> Trace {
    let mut chance = fastrand::Rng::with_seed(1);
    let mut trace = trace.clone();
    for request in &mut trace.requests {
        if let Arrival::At(at) = &mut request.arrival {
            *at += chance.u64(..STEP);
        }
    }
    trace
}
