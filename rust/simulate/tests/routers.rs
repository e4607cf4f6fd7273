//! Several routers: they give back, they tell each other, and one of them is a router as any other.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use fd_router_core::policy::{Policy, Settings};
use fd_router_simulate::{
    Batching, Engine, Exchange, Feedback, Fleet, Model, Record, Report, Routers, SchedulerChooser,
    Setup, Trace, simulate,
};

use common::Conversations;

const fn setup(policy: Policy) -> Setup {
    Setup {
        policy,
        decode_policy: policy,
        settings: Settings {
            balance_abs_threshold: 8.0,
            balance_rel_threshold: 0.5,
            hit_ratio_weight: 1.0,
            load_balance_weight: 0.05,
            waiting_weight: 1.0,
            metrics_max_age: 3_000,
            copy_cost: 0.6,
            base_running: 32.0,
        },
        cache_max_bytes: 1 << 24,
        idle_limit: 1_800_000,
        seed: 5,
        feedback: Feedback {
            told: true,
            learned: true,
        },
    }
}

/// Conversations that grow by a block or more each time, twenty requests a second.
fn traffic(count: usize) -> Trace {
    Conversations {
        sessions: 40,
        begun: 20,
        grows: 1..4,
        longest: usize::MAX,
        apart: 50_000,
    }
    .trace(count)
}

fn engines(count: usize) -> Vec<Engine> {
    vec![Engine::new(Model::Batching(Batching::default()), 20_000); count]
}

fn run(trace: &Trace, fleet: &Fleet, policy: Policy, exchange: Exchange) -> (Vec<Record>, Routers) {
    let mut routers = Routers::new(&setup(policy), exchange, fleet, trace.block_size);
    let records = simulate(trace, fleet, &mut routers, |_| ()).unwrap();
    (records, routers)
}

#[test]
fn one_router_is_a_router_as_any_other() {
    let (trace, fleet) = (traffic(300), Fleet::Mixed(engines(4)));
    for &policy in Policy::ALL {
        let mut alone = SchedulerChooser::new(&setup(policy), &fleet, trace.block_size);
        let alone = simulate(&trace, &fleet, &mut alone, |_| ()).unwrap();
        let (one, _) = run(&trace, &fleet, policy, Exchange::new(1, 100_000));
        assert_eq!(one, alone, "{policy:?}");
    }
}

#[test]
fn every_policy_gives_back_on_every_router() {
    let trace = traffic(300);
    let fleets = [
        Fleet::Mixed(engines(4)),
        Fleet::Disaggregated {
            prefill: engines(3),
            decode: engines(3),
            handover: 1_000,
        },
    ];
    for &policy in Policy::ALL {
        for fleet in &fleets {
            let exchange = Exchange::new(3, 100_000);
            let (records, routers) = run(&trace, fleet, policy, exchange);
            assert_eq!(records.len(), trace.requests.len());
            for router in routers.routers() {
                let own = router.scheduler().own_loads(u64::MAX / 2);
                let idle = own.iter().all(|(_, held)| {
                    (held.running, held.weight) == (0, 0) && held.pending + held.resident < 0.1
                });
                assert!(idle, "{policy:?}: {own:?}");
                let chosen = router.scheduler().decisions().outcomes;
                let chosen: u64 = chosen.iter().map(|&(.., count)| count).sum();
                assert!(chosen > 50, "{policy:?}: the balancer leaves one out");
            }
            assert_eq!(records, run(&trace, fleet, policy, exchange).0);
        }
    }
}

#[test]
fn routers_that_tell_each_other_find_what_one_finds() {
    let (trace, fleet) = (traffic(1_500), Fleet::Mixed(engines(6)));
    let report = |exchange| Report::new(&run(&trace, &fleet, Policy::LeastWork, exchange).0, 6);
    let one = report(Exchange::new(1, 0));
    let three = Exchange::new(3, 100_000);
    let told = report(three);
    let silent = report(Exchange {
        prefixes: false,
        loads: false,
        ..three
    });
    assert!(told.hit > one.hit - 0.02, "{} {}", told.hit, one.hit);
    assert!(silent.hit < told.hit - 0.05, "{} {}", silent.hit, told.hit);
    let first = told.first_token.mean / one.first_token.mean;
    assert!(first < 1.1, "{first}");
}
