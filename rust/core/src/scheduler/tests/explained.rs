//! What a decision tells of what it saw, by policy; and that it chooses the same whether it is asked or not.

use super::*;
use crate::load::Held;
use crate::policy::{Terms, View};

fn explained(scheduler: &Scheduler, text: &str) -> (Decision, View) {
    let (body, options) = (prompt(text), Options::default());
    let ask = scheduler.ask(Role::Mixed, &body, &options).unwrap();
    let mut decision = scheduler.decide_explained(Role::Mixed, ask, 0);
    let mut decision = decision.as_mut().unwrap().take().unwrap();
    let view = decision.view.take().unwrap();
    (decision, view)
}

fn urls(view: &View) -> String {
    view.best.iter().map(|terms| &*terms.url).collect()
}

fn costs(view: &View) -> Vec<Option<f64>> {
    view.best.iter().map(|terms| terms.cost).collect()
}

#[test]
fn nobody_pays_for_what_nobody_asks_for() {
    assert!(select(&fleet(Policy::LeastWork, 2), LONG).view.is_none());
}

#[test]
fn every_policy_chooses_the_same_and_tells_who() {
    for &policy in Policy::ALL {
        let (plain, asked) = (fleet(policy, 12), fleet(policy, 12));
        let (mut before, mut held) = (Vec::new(), Vec::new());
        for number in 0..40 {
            let text = LONG.repeat(1 + number % 3);
            let chosen = select(&plain, &text);
            let (decision, view) = explained(&asked, &text);
            assert_eq!(url(&chosen), url(&decision), "{policy:?}, {number}");
            assert_eq!(*view.best[0].url, *url(&decision), "{policy:?}");
            assert_eq!(view.candidates, 12);
            let kept = if policy == Policy::PowerOfTwo { 2 } else { 8 };
            assert_eq!(view.best.len(), kept, "{policy:?}");
            let read = policy.reads_prefixes();
            assert_eq!(view.blocks.is_some(), read, "{policy:?}");
            let looked = |terms: &Terms| terms.held.is_some();
            assert!(
                view.best.iter().all(|terms| looked(terms) == read),
                "{policy:?}"
            );
            before.push(chosen);
            held.push(decision);
        }
    }
}

#[test]
fn counts_are_those_before_the_booking() {
    let scheduler = fleet(Policy::RequestNum, 3);
    let held = [select(&scheduler, ""), select(&scheduler, "")];
    let (_, view) = explained(&scheduler, "");
    assert_eq!(urls(&view), "cab");
    assert_eq!(costs(&view), [Some(0.0), Some(1.0), Some(1.0)]);
    assert_eq!(view.best.iter().map(|each| each.running).sum::<u64>(), 2);
    assert_eq!((view.ties, view.margin), (0, None), "0 has no share");
    drop(held);
    let (_, view) = explained(&scheduler, "");
    assert_eq!((view.ties, view.margin), (2, Some(0.0)));
}

#[test]
fn policies_without_costs_show_who_follows() {
    let scheduler = fleet(Policy::RoundRobin, 3);
    for wanted in ["abc", "bca", "cab", "abc"] {
        let (_, view) = explained(&scheduler, "");
        assert_eq!(urls(&view), wanted);
        assert_eq!((view.ties, view.margin), (0, None));
        assert_eq!(costs(&view), [None; 3]);
    }
}

#[test]
fn least_work_tells_what_each_holds() {
    let scheduler = fleet(Policy::LeastWork, 2);
    let holder = url(&select(&scheduler, LONG)).to_owned();
    let (decision, view) = explained(&scheduler, &LONG.repeat(2));
    assert_eq!(url(&decision), holder);
    assert_eq!((view.blocks, view.tokens), (Some(20), 20.0));
    assert_eq!(*view.best_hit.as_ref().unwrap().url, *holder);
    let held: Vec<_> = view.best.iter().map(|terms| terms.held).collect();
    assert_eq!(held, [Some(10.0), Some(0.0)]);
    let [chosen, other] = [0, 1].map(|place| view.best[place].cost.unwrap());
    assert!((view.margin.unwrap() - (other - chosen) / chosen).abs() < 1e-9);
}

#[test]
fn a_fall_back_tells_who_was_passed_over() {
    let scheduler = fleet(Policy::CacheAware, 2);
    let held = [(); 2].map(|()| decide(&scheduler, Role::Mixed, &prompt(LONG), &["b"]));
    let holder = url(&held[0]);
    let (decision, view) = explained(&scheduler, LONG);
    assert_eq!(decision.reason(), Some("load imbalanced"));
    assert_eq!(decision.policy, Policy::ProcessTokens);
    assert_ne!(url(&decision), holder);
    let passed_over = view.best_hit.unwrap();
    assert_eq!((&*passed_over.url, passed_over.held), (holder, Some(10.0)));
    assert_eq!(decision.matched(), None, "nothing is recorded of it");
}

#[test]
fn specialists_are_told_of_too() {
    let scheduler = fleet(Policy::Random, 3);
    for name in ["a", "b", "c"] {
        scheduler.tell_endpoints(name, vec!["/tokenize".to_owned()]);
    }
    let body = prompt("hello");
    let first = scheduler
        .select_for("/tokenize", &body, &[], true, 0)
        .unwrap();
    let second = scheduler
        .select_for("/tokenize", &body, &[], true, 0)
        .unwrap();
    assert_eq!((url(&first), url(&second)), ("a", "b"));
    let view = second.view.as_ref().unwrap();
    assert_eq!(urls(view), "bca");
    assert_eq!(costs(view), [Some(0.0), Some(0.0), Some(1.0)]);
    assert_eq!((view.ties, view.blocks), (1, None));
}

#[test]
fn a_router_among_others_tells_what_was_cheaper() {
    let among = || {
        let scheduler = scheduler(&[(Role::Mixed, Policy::LeastWork)]).named("one");
        for number in 0..9 {
            scheduler.add(&format!("w{number}"), Role::Mixed);
        }
        let row = |number: u64| {
            let running = 100 + number % 3;
            (
                format!("w{number}"),
                Held {
                    running,
                    ..Held::default()
                },
            )
        };
        scheduler.tell_foreign("other", &(0..9).map(row).collect::<Vec<_>>());
        scheduler
    };
    let (plain, asked) = (among(), among());
    let mut cheaper = 0;
    for number in 0..20 {
        let text = format!("{number}{LONG}");
        let chosen = select(&plain, &text);
        let (decision, view) = explained(&asked, &text);
        assert_eq!(url(&chosen), url(&decision));
        assert_eq!(*view.best[0].url, *url(&decision));
        let [one, next] = [0, 1].map(|place| view.best[place].cost.unwrap());
        assert!((view.margin.unwrap() - (next - one) / one).abs() < 1e-9);
        let same = view.best.iter().filter(|terms| terms.cost == Some(one));
        assert_eq!(view.ties as usize, same.count() - 1);
        cheaper += u32::from(next < one);
    }
    assert!(cheaper > 0, "it takes one that costs nearly as little");
}
