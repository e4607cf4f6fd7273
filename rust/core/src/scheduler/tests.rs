//! Workers that come and go, errors, threads. What each policy does is in [`policies`].

mod explained;
mod foreign;
mod least_work;
mod models;
mod policies;
mod retuned;
mod sharing;
mod snapshots;

use std::collections::BTreeMap;
use std::thread;

use super::*;
use crate::policy::Settings;
use crate::scan::Prompt;

const SETTINGS: Settings = Settings {
    balance_abs_threshold: 1.0,
    balance_rel_threshold: 0.2,
    hit_ratio_weight: 1.0,
    load_balance_weight: 1.0,
    waiting_weight: 10.0,
    metrics_max_age: 3_000,
    copy_cost: 0.6,
    base_running: 32.0,
};

fn config(policies: &[(Role, Policy)]) -> SchedulerConfig {
    SchedulerConfig {
        policies: policies.to_vec(),
        block_size: 4,
        cache_max_bytes: 1 << 20,
        idle_limit: 60_000,
        settings: SETTINGS,
        seed: 7,
    }
}

fn scheduler(policies: &[(Role, Policy)]) -> Scheduler {
    Scheduler::new(&config(policies))
}

/// A scheduler of mixed workers `a`, `b`, ...
fn fleet(policy: Policy, count: u8) -> Scheduler {
    let scheduler = scheduler(&[(Role::Mixed, policy)]);
    (b'a'..b'a' + count)
        .for_each(|name| scheduler.add(char::from(name).encode_utf8(&mut [0; 4]), Role::Mixed));
    scheduler
}

fn prompt(text: &str) -> Body<String> {
    Body::scan(format!("{{\"prompt\":{text:?}}}"), Prompt::Plain).unwrap()
}

fn select(scheduler: &Scheduler, text: &str) -> Decision {
    decide(scheduler, Role::Mixed, &prompt(text), &[])
}

fn decide(scheduler: &Scheduler, role: Role, body: &Body<String>, exclude: &[&str]) -> Decision {
    let options = Options {
        tokens: None,
        model: None,
        exclude: exclude.iter().map(|&url| url.to_owned()).collect(),
    };
    let decision = scheduler.select(role, body, &options, 0);
    decision.unwrap().unwrap()
}

fn url(decision: &Decision) -> &str {
    decision.lease.worker().url()
}

/// Urls of `count` decisions, each given back at once.
fn turns(scheduler: &Scheduler, role: Role, count: usize) -> String {
    let one = |_| url(&decide(scheduler, role, &prompt(""), &[])).to_owned();
    (0..count).map(one).collect()
}

const LONG: &str = "aaaabbbbccccddddeeeeffffgggghhhhiiiijjjj";

#[test]
fn excluded_workers_serve_when_nobody_else_is_left() {
    let scheduler = fleet(Policy::RequestNum, 2);
    let chosen =
        |exclude: &[&str]| url(&decide(&scheduler, Role::Mixed, &prompt(""), exclude)).to_owned();
    assert_eq!(chosen(&["a"]), "b");
    assert_eq!(chosen(&["a", "b"]), "a");
}

#[test]
fn standings_are_tiers() {
    let scheduler = fleet(Policy::RequestNum, 3);
    let chosen =
        |exclude: &[&str]| url(&decide(&scheduler, Role::Mixed, &prompt(""), exclude)).to_owned();
    scheduler.stand("a", Standing::Ejected);
    scheduler.stand("b", Standing::PassedOver);
    assert_eq!(chosen(&[]), "c");
    assert_eq!(
        chosen(&["c"]),
        "b",
        "who is passed over, sooner than who had it"
    );
    assert_eq!(
        chosen(&["b", "c"]),
        "c",
        "who had it, sooner than who is ejected"
    );
    assert_eq!(scheduler.left(Role::Mixed, None, &[]), (1, 1));
    assert_eq!(scheduler.left(Role::Mixed, None, &["c".to_owned()]), (0, 1));
    assert_eq!(scheduler.count(Role::Mixed, None), 3);
    scheduler.stand("c", Standing::PassedOver);
    assert_eq!(chosen(&[]), "b", "when all refuse nobody is passed over");
    scheduler.remove("b");
    scheduler.remove("c");
    assert_eq!(chosen(&[]), "a", "the last one serves, whatever it did");
    scheduler.stand("a", Standing::Out);
    assert_eq!(scheduler.count(Role::Mixed, None), 0);
    let none = scheduler.select(Role::Mixed, &prompt(""), &Options::default(), 0);
    assert!(
        none.expect("served").is_none(),
        "who is out is never chosen"
    );
    scheduler.stand("a", Standing::Open);
    assert_eq!(chosen(&[]), "a");
    scheduler.stand("nobody", Standing::Ejected);
    assert_eq!("passed_over".parse(), Ok(Standing::PassedOver));
}

#[test]
fn an_engine_that_ended_has_no_prefix_and_keeps_its_counters() {
    let scheduler = fleet(Policy::CacheAware, 1);
    let held = select(&scheduler, LONG);
    scheduler.forget_prefixes("a", 0);
    let next = select(&scheduler, LONG);
    assert_eq!((next.running, next.hit_ratio()), (2, Some(0.0)));
    assert_eq!(select(&scheduler, LONG).hit_ratio(), Some(1.0));
    drop(held);
}

#[test]
fn an_empty_role_is_told_from_one_not_served() {
    let scheduler = scheduler(&[(Role::Mixed, Policy::Random)]);
    let select = |role| scheduler.select(role, &prompt(""), &Options::default(), 0);
    assert!(select(Role::Mixed).unwrap().is_none());
    assert_eq!(select(Role::Decode).unwrap_err(), NotServed(Role::Decode));
}

#[test]
fn a_worker_that_returns_keeps_counters_but_no_prefix() {
    let scheduler = fleet(Policy::CacheAware, 1);
    let held = select(&scheduler, LONG);
    assert_eq!(scheduler.remove("a"), Some((1, 80)));
    assert_eq!(scheduler.remove("a"), None);
    assert_eq!(
        scheduler.loads(),
        [Load {
            url: "a".into(),
            role: Role::Mixed,
            running: 1,
            tokens: 80
        }]
    );
    assert_eq!(scheduler.reap().preserved, ["a"]);
    scheduler.add("a", Role::Mixed);
    let back = select(&scheduler, LONG);
    assert_eq!((back.running, back.hit_ratio()), (2, Some(0.0)));
    drop((held, back));
    assert_eq!(scheduler.remove("a"), Some((0, 0)));
    assert_eq!(scheduler.reap(), Reaped::default());
}

#[test]
fn departed_workers_are_reaped_when_their_leases_are_back() {
    let scheduler = fleet(Policy::RequestNum, 1);
    let held = select(&scheduler, "");
    scheduler.remove("a");
    held.lease.release();
    assert_eq!(scheduler.loads(), []);
    assert_eq!(scheduler.reap().removed, ["a"]);
    assert_eq!(scheduler.reap(), Reaped::default());
}

#[test]
fn a_new_role_keeps_the_counters() {
    let scheduler = scheduler(&[
        (Role::Prefill, Policy::RequestNum),
        (Role::Decode, Policy::RequestNum),
    ]);
    scheduler.add("a", Role::Prefill);
    let held = decide(&scheduler, Role::Prefill, &prompt("hello"), &[]);
    scheduler.add("a", Role::Decode);
    assert_eq!(
        (
            scheduler.count(Role::Prefill, None),
            scheduler.count(Role::Decode, None)
        ),
        (0, 1)
    );
    let next = decide(&scheduler, Role::Decode, &prompt("hello"), &[]);
    assert_eq!((next.running, next.tokens), (2, 20));
    drop(held);
    assert_eq!(next.lease.release(), Some((0, Some(0))));
}

#[test]
fn a_lease_is_told_of_in_upstreams_words() {
    let scheduler = scheduler(
        &[Role::Mixed, Role::Prefill, Role::Decode].map(|role| (role, Policy::RequestNum)),
    );
    for (role, booked, left) in [
        (
            Role::Mixed,
            "count: 1",
            Some("release prefill tokens: mixed, tokens: 0"),
        ),
        (
            Role::Prefill,
            "tokens: 4",
            Some("release prefill tokens: prefill, tokens: 0"),
        ),
        (Role::Decode, "count: 1", None),
    ] {
        scheduler.add(role.name(), role);
        let decision = decide(&scheduler, role, &prompt("ab"), &[]);
        assert_eq!(
            lines::chosen(&decision),
            format!("select worker ({role}): {role}, {booked}")
        );
        let (running, tokens) = decision.lease.release().unwrap();
        let told = lines::released(&decision, running, tokens);
        assert_eq!(
            told,
            (
                format!("release worker: {role}, count: 0"),
                left.map(str::to_owned)
            )
        );
    }
}

/// Decisions are taken while others come, so no two of eight at once may see the same idle worker.
#[test]
fn eight_threads_lose_nothing() {
    let scheduler = fleet(Policy::CacheAware, 8);
    thread::scope(|scope| {
        for thread in 0..8 {
            let scheduler = &scheduler;
            scope.spawn(move || {
                for turn in 0..500 {
                    let decision = select(scheduler, &format!("{LONG}{}", (turn * thread) % 50));
                    if turn % 3 == 0 {
                        decision.lease.first_byte(0);
                    }
                    if turn % 50 == 0 {
                        scheduler.remove("c");
                        scheduler.add("c", Role::Mixed);
                    }
                }
            });
        }
    });
    assert!(
        scheduler
            .loads()
            .iter()
            .all(|load| (load.running, load.tokens) == (0, 0))
    );
}

#[test]
fn eight_at_once_go_to_eight_workers() {
    let scheduler = fleet(Policy::RequestNum, 8);
    let held: Vec<Decision> = thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| select(&scheduler, "")))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    let mut served = BTreeMap::new();
    for decision in &held {
        *served.entry(url(decision)).or_insert(0) += 1;
    }
    assert_eq!(served.len(), 8);
}

#[test]
fn endpoints_go_to_those_that_serve_them_by_name() {
    let scheduler = scheduler(&[
        (Role::Prefill, Policy::ProcessTokens),
        (Role::Decode, Policy::RequestNum),
    ]);
    for (url, role) in [
        ("a", Role::Prefill),
        ("b", Role::Decode),
        ("c", Role::Mixed),
    ] {
        scheduler.add(url, role);
    }
    let select = |endpoint: &str, exclude: &[&str]| {
        let exclude: Vec<String> = exclude.iter().map(|&url| url.to_owned()).collect();
        scheduler.select_for(endpoint, &prompt("hello"), &exclude, false, 0)
    };
    assert!(select("/tokenize", &[]).is_none());
    let serves = |url: &str, endpoints: &[&str]| {
        scheduler.tell_endpoints(url, endpoints.iter().map(|&each| each.to_owned()).collect());
    };
    serves("b", &["/tokenize", "/v1/embeddings"]);
    serves("c", &["/tokenize"]);
    serves("nobody", &["/tokenize"]);
    let held = [select("/tokenize", &[]), select("/tokenize", &[])].map(Option::unwrap);
    assert_eq!(held.each_ref().map(url), ["b", "c"], "the fewest requests");
    assert_eq!((held[0].running, held[0].tokens), (1, 10));
    assert_eq!(url(&select("/v1/embeddings", &[]).unwrap()), "b");
    assert_eq!(url(&select("/tokenize", &["b"]).unwrap()), "c");
    assert_eq!(
        scheduler.left_for("/tokenize", None, &["b".to_owned()]),
        (1, 0)
    );
    assert_eq!(scheduler.left_for("/nowhere", None, &[]), (0, 0));
    scheduler.stand("b", Standing::PassedOver);
    assert_eq!(url(&select("/tokenize", &[]).unwrap()), "c");
    assert_eq!(scheduler.left_for("/tokenize", None, &[]), (1, 1));
    // A pair's decision sees what such requests put on a worker.
    assert_eq!(
        decide(&scheduler, Role::Decode, &prompt(""), &[]).running,
        2
    );
    drop(held);
    serves("b", &[]);
    scheduler.remove("c");
    assert!(select("/tokenize", &[]).is_none());
    assert!(scheduler.loads().iter().all(|load| load.running == 0));
}

#[test]
fn an_endpoint_s_workers_are_asked_for_what_they_serve() {
    let scheduler = scheduler(&[(Role::Decode, Policy::RequestNum)]);
    for (url, model) in [("a", "large"), ("b", "small")] {
        scheduler.add(url, Role::Decode);
        scheduler.tell_endpoints(url, vec!["/tokenize".to_owned(), "/tokenize".to_owned()]);
        scheduler.tell_models(url, Some(&[model]), false);
    }
    let select = |model: &str| {
        let body = format!("{{\"model\":{model:?}}}");
        let body = Body::scan(body, Prompt::Nowhere).unwrap();
        let decision = scheduler.select_for("/tokenize", &body, &[], false, 0);
        decision.map(|decision| url(&decision).to_owned())
    };
    assert_eq!(select("small").as_deref(), Some("b"));
    assert_eq!(select("large").as_deref(), Some("a"));
    assert_eq!(select("tiny"), None);
    assert_eq!(scheduler.left_for("/tokenize", Some("small"), &[]), (1, 0));
    assert_eq!(scheduler.left_for("/tokenize", None, &[]), (2, 0));
}
