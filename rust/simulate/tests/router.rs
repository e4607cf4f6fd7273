//! The real scheduler behind the seam: what it is told, what it gives back, and that two runs are one.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use fd_router_core::policy::{Policy, Settings};
use fd_router_core::scheduler::Load;
use fd_router_simulate::{
    Batching, Engine, Feedback, Fleet, Model, Outcome, Record, Report, SchedulerChooser, Setup,
    Trace, simulate,
};

use common::{BLOCK, Conversations, request};

const CACHE: usize = 400;

fn setup(policy: Policy, feedback: Feedback) -> Setup {
    Setup {
        policy,
        decode_policy: policy,
        settings: Settings {
            balance_abs_threshold: 1.0,
            balance_rel_threshold: 0.2,
            hit_ratio_weight: 1.0,
            load_balance_weight: 1.0,
            waiting_weight: 1.0,
            metrics_max_age: 3_000,
            copy_cost: 0.6,
            base_running: 32.0,
        },
        cache_max_bytes: 1 << 24,
        idle_limit: 1_800_000,
        seed: 5,
        feedback,
    }
}

/// Conversations, and now and then a prompt that fits nowhere; so many microseconds apart.
fn traffic(count: usize, apart: u64) -> Trace {
    let mut trace = Conversations {
        sessions: 60,
        begun: 0,
        grows: 1..6,
        longest: 40,
        apart,
    }
    .trace(count);
    let mut chance = fastrand::Rng::with_seed(12);
    for each in trace.requests.iter_mut().skip(499).step_by(500) {
        *each = request(each.arrival, each.session.unwrap(), 2 * CACHE, &mut chance);
    }
    trace
}

fn engine() -> Engine {
    Engine::new(Model::Batching(Batching::default()), CACHE)
}

fn run(trace: &Trace, fleet: &Fleet, setup: &Setup) -> (Vec<Record>, SchedulerChooser) {
    let mut chooser = SchedulerChooser::new(setup, fleet, trace.block_size);
    let records = simulate(trace, fleet, &mut chooser, |_| ()).unwrap();
    (records, chooser)
}

#[test]
fn every_policy_serves_and_gives_back() {
    let trace = traffic(1_000, 20_000);
    let fleets = [
        Fleet::mixed(3, &engine()),
        Fleet::Disaggregated {
            prefill: vec![engine(); 2],
            decode: vec![engine(); 12],
            handover: 1_000,
        },
    ];
    for &policy in Policy::ALL {
        for fleet in &fleets {
            let setup = setup(
                policy,
                Feedback {
                    told: true,
                    learned: true,
                },
            );
            let (records, chooser) = run(&trace, fleet, &setup);
            assert_eq!(records.len(), trace.requests.len());
            let idle = |load: &Load| (load.running, load.tokens) == (0, 0);
            let loads = chooser.scheduler().loads();
            assert!(loads.iter().all(idle), "{policy:?}: {loads:?}");
            let refused = records
                .iter()
                .filter(|record| record.outcome == Outcome::Refused);
            assert_eq!(refused.count(), 2);
            assert_eq!(records, run(&trace, fleet, &setup).0, "{policy:?}");
            let used = records.iter().filter_map(|record| record.decode_worker);
            if matches!(fleet, Fleet::Disaggregated { .. }) {
                assert!(used.max().unwrap() > 9, "{policy:?} uses workers 10 to 12");
            }
        }
    }
}

#[test]
fn capacities_are_told_learned_or_unknown() {
    let trace = traffic(4_000, 100_000);
    let fleet = Fleet::mixed(2, &engine());
    let capacities = |told, learned| {
        let setup = setup(Policy::LeastWork, Feedback { told, learned });
        let (records, chooser) = run(&trace, &fleet, &setup);
        let blocks: Vec<f64> = chooser
            .scheduler()
            .capacities()
            .into_iter()
            .map(|(_, tokens)| tokens / BLOCK as f64)
            .collect();
        (blocks, Report::new(&records, 2))
    };
    let (blocks, blind) = capacities(false, false);
    assert!(blocks.is_empty());
    let (blocks, told) = capacities(true, false);
    assert_eq!(blocks, [CACHE as f64; 2]);
    let (blocks, learned) = capacities(false, true);
    assert_eq!(blocks.len(), 2);
    assert!(
        blocks.iter().all(|found| (340.0..460.0).contains(found)),
        "{blocks:?} of {CACHE}"
    );
    let over = |report: &Report| report.over_predicted.unwrap();
    assert!(over(&told) < over(&blind) / 2.0 && over(&learned) < over(&blind) / 2.0);
}

#[test]
fn a_fleet_without_engines_is_an_error() {
    let fleet = Fleet::Mixed(Vec::new());
    let mut chooser =
        SchedulerChooser::new(&setup(Policy::Random, Feedback::default()), &fleet, BLOCK);
    assert!(simulate(&traffic(1, 0), &fleet, &mut chooser, |_| ()).is_err());
}
