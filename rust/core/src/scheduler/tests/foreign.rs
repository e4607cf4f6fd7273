//! What other routers have in hand, and how a router chooses beside them.

use super::*;
use crate::load::Held;

fn row(url: &str, running: u64) -> (String, Held) {
    let held = Held {
        running,
        weight: 10 * running,
        pending: 100.0 * running as f64,
        resident: 1_000.0 * running as f64,
    };
    (url.to_owned(), held)
}

fn running(scheduler: &Scheduler, url: &str) -> u64 {
    scheduler.roster.read().worker(url).unwrap().running()
}

#[test]
fn every_policy_that_goes_by_load_goes_by_that_of_others() {
    for policy in [
        Policy::RequestNum,
        Policy::ProcessTokens,
        Policy::PowerOfTwo,
        Policy::FdMetricsScore,
        Policy::FdRemoteMetricsScore,
        Policy::CacheAware,
        Policy::RemoteCacheAware,
        Policy::LeastWork,
    ] {
        for role in Role::ALL {
            let scheduler = scheduler(&[(*role, policy)]);
            scheduler.add("a", *role);
            scheduler.add("b", *role);
            scheduler.tell_foreign("other", &[row("a", 9)]);
            for turn in 0..4 {
                let text = format!("{turn}{LONG}");
                let chosen = decide(&scheduler, *role, &prompt(&text), &[]);
                assert_eq!(url(&chosen), "b", "{policy:?} {role:?}");
            }
            scheduler.tell_foreign("other", &[row("b", 9)]);
            let chosen = decide(&scheduler, *role, &prompt(LONG), &[]);
            assert_eq!(url(&chosen), "a", "{policy:?} {role:?}");
        }
    }
}

#[test]
fn an_engines_own_count_has_that_of_others_in_it() {
    let scheduler = fleet(Policy::FdRemoteMetricsScore, 2);
    scheduler.tell_foreign("other", &[row("a", 3)]);
    scheduler.observe("a", 3.0, 0.0, 0);
    scheduler.observe("b", 1.0, 0.0, 0);
    assert_eq!(url(&select(&scheduler, LONG)), "b");
    scheduler.tell_foreign("other", &[row("b", 0)]);
    assert_eq!(url(&select(&scheduler, LONG)), "a", "theirs are over");
}

#[test]
fn what_one_says_is_all_that_it_has() {
    let scheduler = fleet(Policy::RequestNum, 2);
    let held = select(&scheduler, "");
    for _ in 0..3 {
        scheduler.tell_foreign("one", &[row("a", 2), row("b", 1)]);
        scheduler.tell_foreign("two", &[row("a", 5)]);
    }
    assert_eq!((running(&scheduler, "a"), running(&scheduler, "b")), (8, 1));
    scheduler.tell_foreign("one", &[row("b", 4)]);
    assert_eq!((running(&scheduler, "a"), running(&scheduler, "b")), (6, 4));
    let loads = scheduler.loads();
    assert_eq!(
        (loads[0].running, loads[1].running),
        (1, 0),
        "ours stay ours"
    );
    assert_eq!(scheduler.remove("a"), Some((1, held.tokens)));
    let own = scheduler.own_loads(0);
    let own: Vec<_> = own
        .iter()
        .map(|(url, held)| (&**url, held.running))
        .collect();
    assert_eq!(own, [("a", 1), ("b", 0)]);
    drop(held);
    scheduler.tell_foreign("one", &[]);
    scheduler.tell_foreign("two", &[]);
    assert_eq!(running(&scheduler, "b"), 0);
    assert!(scheduler.replica.lock().is_none());
}

#[test]
fn rows_count_from_when_their_worker_comes() {
    let scheduler = fleet(Policy::RequestNum, 1);
    scheduler.tell_foreign("other", &[row("later", 3), row("a", 2)]);
    scheduler.add("later", Role::Mixed);
    assert_eq!(running(&scheduler, "later"), 3);
    scheduler.remove("a");
    scheduler.tell_foreign("other", &[row("a", 7)]);
    assert_eq!(running(&scheduler, "later"), 0);
    scheduler.add("a", Role::Mixed);
    assert_eq!(running(&scheduler, "a"), 7);
    let held = select(&scheduler, "");
    scheduler.remove(url(&held));
    scheduler.tell_foreign("other", &[row("a", 1)]);
    scheduler.add("later", Role::Mixed);
    scheduler.add("a", Role::Mixed);
    assert_eq!(running(&scheduler, "later"), 1, "its lease is still out");
    assert_eq!(running(&scheduler, "a"), 1);
}

#[test]
fn there_is_room_for_so_many_and_no_more() {
    let scheduler = fleet(Policy::RequestNum, 1);
    let rows: Vec<_> = (0..5_000)
        .map(|number| row(&format!("w{number}"), 1))
        .collect();
    assert_eq!(scheduler.tell_foreign("0", &rows), 5_000 - 4_096);
    for origin in 1..64 {
        assert_eq!(
            scheduler.tell_foreign(&origin.to_string(), &[row("a", 1)]),
            0
        );
    }
    assert_eq!(scheduler.tell_foreign("one too many", &[row("a", 1)]), 1);
    assert_eq!(scheduler.tell_foreign("63", &[row("a", 2)]), 0);
    assert_eq!(running(&scheduler, "a"), 62 + 2);
    let long = row(&"u".repeat(3_000), 1);
    assert_eq!(scheduler.tell_foreign("63", &[long]), 1);
    assert_eq!(running(&scheduler, "a"), 62);
}

#[test]
fn figures_that_are_none_do_no_harm() {
    let scheduler = fleet(Policy::LeastWork, 2);
    let held = Held {
        running: u64::MAX,
        weight: u64::MAX,
        pending: f64::NAN,
        resident: f64::NEG_INFINITY,
    };
    let endless = Held {
        pending: f64::INFINITY,
        ..held
    };
    for origin in ["one", "two"] {
        scheduler.tell_foreign(origin, &[("a".to_owned(), held), ("b".to_owned(), endless)]);
    }
    assert_eq!(url(&select(&scheduler, LONG)), "a");
    scheduler.tell_foreign("one", &[]);
    scheduler.tell_foreign("two", &[]);
    assert_eq!(running(&scheduler, "a"), 0);
}

/// Where each of 200 prompts goes on a fleet of 8 that hardly does anything, for a router of this name.
fn choices(policy: Policy, name: Option<&str>, beside: bool) -> Vec<String> {
    let scheduler = fleet(policy, 8);
    let scheduler = match name {
        Some(name) => scheduler.named(name),
        None => scheduler,
    };
    if beside {
        let held = Held {
            running: 1,
            ..Held::default()
        };
        scheduler.tell_foreign("other", &[("elsewhere".to_owned(), held)]);
    }
    let one = |number| {
        let text = format!("{number:04}{LONG}");
        url(&select(&scheduler, &text)).to_owned()
    };
    (0..200).map(one).collect()
}

#[test]
fn a_router_that_is_alone_chooses_as_one_without_a_name() {
    for &policy in Policy::ALL {
        let plain = choices(policy, None, false);
        assert_eq!(choices(policy, Some("r1"), false), plain, "{policy:?}");
        assert_eq!(choices(policy, None, true), plain, "{policy:?}");
    }
}

#[test]
fn routers_have_orders_of_their_own() {
    for policy in [Policy::CacheAware, Policy::LeastWork] {
        let [one, two] = ["r1", "r2"].map(|name| choices(policy, Some(name), true));
        assert_eq!(one, choices(policy, Some("r1"), true));
        let same = one.iter().zip(&two).filter(|(one, two)| one == two).count();
        assert!((5..60).contains(&same), "{policy:?}: {same} of 200");
        let least = if policy == Policy::LeastWork { 0 } else { 10 };
        for worker in "abcdefgh".chars() {
            let count = one.iter().filter(|url| **url == worker.to_string()).count();
            assert!((least..65).contains(&count), "{policy:?}: {worker} {count}");
        }
    }
}

#[test]
fn least_work_on_idle_workers_takes_turns_by_the_names_of_routers() {
    let before = choices(Policy::LeastWork, Some("a"), true);
    let after = choices(Policy::LeastWork, Some("z"), true);
    assert!(before.iter().all(|url| "aceg".contains(&**url)));
    assert!(after.iter().all(|url| "bdfh".contains(&**url)));
}

#[test]
fn beside_routers_that_only_stand_by_a_router_chooses_as_alone() {
    for policy in [Policy::CacheAware, Policy::LeastWork] {
        let scheduler = fleet(policy, 8).named("r1");
        scheduler.tell_foreign("other", &[row("a", 1)]);
        assert!(scheduler.replica.lock().is_some());
        scheduler.tell_foreign("other", &[row("a", 0)]);
        assert!(scheduler.replica.lock().is_none(), "{policy:?}");
    }
}

#[test]
fn long_queues_are_no_reason_to_leave_a_prefix() {
    let settings = Settings {
        balance_abs_threshold: 8.0,
        load_balance_weight: 0.05,
        ..SETTINGS
    };
    let tail = LONG.repeat(3);
    for (policy, head, tail) in [
        (Policy::CacheAware, "", &*tail),
        (Policy::LeastWork, LONG, "tail"),
    ] {
        let config = SchedulerConfig {
            settings,
            ..config(&[(Role::Mixed, policy)])
        };
        for number in 0..20 {
            let scheduler = Scheduler::new(&config).named("r1");
            for worker in ["a", "b", "c", "d"] {
                scheduler.add(worker, Role::Mixed);
            }
            let head = format!("{number:04}{head}");
            let first = url(&select(&scheduler, &head)).to_owned();
            let rows = ["a", "b", "c", "d"].map(|worker| row(worker, 200));
            scheduler.tell_foreign("other", &rows);
            let again = select(&scheduler, &format!("{head}{tail}"));
            assert_eq!(url(&again), first, "{policy:?}");
        }
    }
}

#[test]
fn what_costs_clearly_less_is_taken_whatever_is_drawn() {
    for policy in [Policy::RequestNum, Policy::ProcessTokens, Policy::LeastWork] {
        let scheduler = fleet(policy, 8).named("r1");
        let rows: Vec<_> = "abcdefgh"
            .chars()
            .map(|worker| row(&worker.to_string(), if worker == 'e' { 9 } else { 10 }))
            .collect();
        scheduler.tell_foreign("other", &rows);
        for number in 0..20 {
            let chosen = select(&scheduler, &format!("{number:04}"));
            assert_eq!(url(&chosen), "e", "{policy:?}");
        }
    }
}

#[test]
fn loads_in_bytes_are_state() {
    let [one, two] = ["one", "two"].map(|_| fleet(Policy::RequestNum, 3));
    assert!(one.take_loads(false, 0).is_none(), "nothing has changed");
    let first = select(&one, LONG);
    let news = one.take_loads(false, 0).unwrap();
    assert!(two.apply_loads("one", &news));
    assert_eq!(
        two.foreign("one"),
        one.own_loads(0)
            .into_iter()
            .filter(|row| row.1.running > 0)
            .collect::<Vec<_>>()
    );
    assert_eq!(two.running_elsewhere(), [(url(&first).to_owned(), 1)]);
    assert_eq!(running(&two, url(&first)), 1);
    let other = ["a", "b", "c"]
        .into_iter()
        .find(|other| *other != url(&first))
        .unwrap();
    two.tell_foreign("three", &[row(other, 2)]);
    let lost = select(&one, LONG);
    one.take_loads(false, 0).unwrap();
    drop((first, lost));
    assert!(
        two.apply_loads("one", &one.take_loads(true, 0).unwrap()),
        "all of it"
    );
    assert_eq!(two.foreign("one"), []);
    assert_eq!(two.running_elsewhere(), [(other.to_owned(), 2)]);
    assert_eq!(running(&two, other), 2);
}

#[test]
fn who_has_nothing_in_hand_is_none_of_the_others() {
    let scheduler = fleet(Policy::RequestNum, 2).named("me");
    let busy = fleet(Policy::RequestNum, 2);
    let _held = select(&busy, LONG);
    for name in ["x", "y"] {
        let idle = fleet(Policy::RequestNum, 2).take_loads(true, 0).unwrap();
        assert!(scheduler.apply_loads(name, &idle));
    }
    assert!(scheduler.replica.lock().is_none());
    assert!(scheduler.apply_loads("z", &busy.take_loads(true, 0).unwrap()));
    assert_eq!(scheduler.replica.lock().unwrap().routers, 2);
}

#[test]
fn loads_in_bytes_are_bounded() {
    let busy = fleet(Policy::RequestNum, 1);
    let _held = select(&busy, LONG);
    let message = busy.take_loads(true, 0).unwrap();
    let scheduler = fleet(Policy::RequestNum, 1);
    for origin in 0..64 {
        assert!(scheduler.apply_loads(&origin.to_string(), &message));
    }
    assert!(!scheduler.apply_loads("one too many", &message));
    assert!(scheduler.apply_loads("63", &message));
    assert_eq!(running(&scheduler, "a"), 64);
    for bytes in [
        &b""[..],
        b"fdl1",
        b"fdl1\x02",
        b"fdl1\x01\0",
        &message[..message.len() - 1],
    ] {
        assert!(!scheduler.apply_loads("0", bytes), "{bytes:?}");
    }
    assert_eq!(running(&scheduler, "a"), 64, "nothing of it was taken");
}
