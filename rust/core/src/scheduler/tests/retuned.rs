//! Other policies and settings while work goes on: counters and prefixes stay.

use super::*;

fn retune(scheduler: &Scheduler, policy: Policy, settings: Settings) {
    scheduler.retune(&SchedulerConfig {
        settings,
        ..config(&[(Role::Mixed, policy)])
    });
}

#[test]
fn another_policy_goes_on_with_counters_and_prefixes() {
    let scheduler = fleet(Policy::CacheAware, 2);
    let first = select(&scheduler, LONG);
    retune(&scheduler, Policy::RequestNum, SETTINGS);
    assert_eq!(scheduler.policy(Role::Mixed), Some(Policy::RequestNum));
    let other = select(&scheduler, LONG);
    assert_eq!(other.policy, Policy::RequestNum);
    assert_ne!(url(&first), url(&other), "the first one is still counted");
    retune(&scheduler, Policy::CacheAware, SETTINGS);
    let again = select(&scheduler, LONG);
    assert_eq!((url(&again), again.hit_ratio()), (url(&first), Some(1.0)));
    assert_eq!(again.running, 2);
}

#[test]
fn other_settings_change_the_next_choice() {
    let scheduler = fleet(Policy::CacheAware, 2);
    let busy = select(&scheduler, "x");
    assert_eq!(url(&select(&scheduler, LONG)), "b");
    drop(busy);
    assert_eq!(url(&select(&scheduler, LONG)), "b", "it has the prompt");
    let blind = Settings {
        hit_ratio_weight: 0.0,
        ..SETTINGS
    };
    retune(&scheduler, Policy::CacheAware, blind);
    assert_eq!(url(&select(&scheduler, LONG)), "a");
}

#[test]
fn credit_lapses_by_volume_only_under_a_policy_that_goes_by_it() {
    let scheduler = fleet(Policy::CacheAware, 1);
    let full = || {
        scheduler
            .tree
            .lock()
            .is_full(scheduler.roster.read().slot("a").unwrap())
    };
    scheduler.tell_capacity("a", 8.0);
    for text in [LONG, "another prompt that fills the cache"] {
        drop(select(&scheduler, text));
    }
    assert!(!full());
    retune(&scheduler, Policy::LeastWork, SETTINGS);
    for text in [
        "a third prompt, other than those",
        "and a fourth one for a full cache",
    ] {
        drop(select(&scheduler, text));
    }
    assert!(full());
    retune(&scheduler, Policy::CacheAware, SETTINGS);
    assert!(!full());
}
