//! A quick form of the bars: less traffic, and the rules that are best on it.

use super::*;
use crate::contender::Knows;
use crate::rules::Kind;

fn report(contender: Contender, scenario: &Scenario, trace: &Trace) -> Report {
    let records = contender.run(trace, &scenario.fleet(trace)).unwrap();
    Report::new(&records, scenario.engines)
}

fn named(name: &str) -> Scenario {
    let mut all = scenario::all().into_iter();
    all.find(|scenario| scenario.name == name).unwrap()
}

#[test]
fn names_are_those_of_scenarios() {
    for name in HALF_UNARY.into_iter().chain([HALVED, REPLICAS]) {
        named(name);
    }
}

#[test]
fn a_popular_prefix_does_not_pile_up() {
    let scenario = named("one prefix in half, 120/s, 16 batching");
    let trace = scenario.traces("".as_ref()).unwrap().remove(0).first(5_000);
    for knows in [Knows::Told, Knows::Learned] {
        let ours = report(Contender::LeastWork(knows), &scenario, &trace);
        assert!(ours.balance < 1.4, "{}: {}", knows.name(), ours.balance);
        assert_eq!(ours.errors, 0);
    }
}

#[test]
fn conversations_are_served_sooner_than_by_the_others() {
    let scenario = named("conversation x2, 8 batching");
    let data = std::env::var_os("FD_ROUTER_DATA");
    let data = data.map_or_else(|| PathBuf::from("../../../shared/data"), PathBuf::from);
    if !data.exists() {
        println!("skipped: {} is not here", data.display());
        return;
    }
    let trace = scenario.traces(&data).unwrap().remove(0).first(4_000);
    let others = [Kind::CacheAware, Kind::Sum, Kind::Product, Kind::Dynamo32]
        .map(|kind| report(Contender::Rule(kind), &scenario, &trace));
    let best = |of: fn(&Report) -> f64| others.iter().map(of).fold(f64::INFINITY, f64::min);
    for knows in [Knows::Told, Knows::Learned] {
        let ours = report(Contender::LeastWork(knows), &scenario, &trace);
        let first = ours.first_token.mean / best(|report| report.first_token.mean);
        let whole = ours.end_to_end.mean / best(|report| report.end_to_end.mean);
        let name = knows.name();
        assert!(first < 1.0 && whole < 1.03, "{name}: {first} {whole}");
    }
}
