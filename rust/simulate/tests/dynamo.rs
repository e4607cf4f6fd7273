//! The batching model beside NVIDIA Dynamo's own offline replay of the same trace.
//!
//! Dynamo's figures came without the token budget of an iteration. With 8,192, its source's default and ours, first
//! tokens are 6 to 13 % early and all figures hold within 15 %. With 16,384, which the same source names as the default
//! of vLLM's `LLM` class, every figure holds within 2 %; with 4,096, 12,288 or 32,768 no setting's figures all do. That
//! the replay ran with 16,384 is what we conclude from it, not what we were told.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use common::{RoundRobin, conversation};
use fd_router_simulate::{Batching, Engine, Fleet, Model, Report, simulate};

/// What Dynamo's replay says: round robin, 2,048 blocks of 512 tokens, all streamed. Milliseconds.
struct Replay {
    workers: usize,
    speed: f64,
    /// Cached prompt tokens over prompt tokens.
    hit: Option<f64>,
    /// Mean, p90 and p99.
    first_token: [f64; 3],
    token_mean: Option<f64>,
    end_to_end: Option<f64>,
}

const REPLAYS: [Replay; 4] = [
    Replay {
        workers: 8,
        speed: 1.0,
        hit: Some(0.082),
        first_token: [358.0, 774.0, 2_270.0],
        token_mean: Some(8.07),
        end_to_end: Some(2_965.0),
    },
    Replay {
        workers: 8,
        speed: 2.0,
        hit: None,
        first_token: [389.0, 844.0, 2_408.0],
        token_mean: Some(11.05),
        end_to_end: Some(3_998.0),
    },
    Replay {
        workers: 8,
        speed: 3.0,
        hit: None,
        first_token: [445.0, 987.0, 2_722.0],
        token_mean: None,
        end_to_end: None,
    },
    Replay {
        workers: 4,
        speed: 1.0,
        hit: None,
        first_token: [599.0, 1_201.0, 2_799.0],
        token_mean: Some(13.02),
        end_to_end: Some(4_293.0),
    },
];

#[test]
fn the_batching_model_is_dynamos() {
    compare(&Batching::default(), 0.15);
}

#[test]
fn with_twice_the_budget_it_is_so_within_two_percent() {
    let model = Batching {
        max_tokens: 16_384,
        ..Batching::default()
    };
    compare(&model, 0.02);
}

fn compare(model: &Batching, tolerance: f64) {
    let Some(trace) = conversation() else {
        return;
    };
    let mut far = Vec::new();
    for replay in &REPLAYS {
        let engine = Engine::new(Model::Batching(*model), 2_048);
        let fleet = Fleet::mixed(replay.workers, &engine);
        let trace = trace.clone().faster(replay.speed);
        let mut chooser = RoundRobin::new(replay.workers);
        let records = simulate(&trace, &fleet, &mut chooser, |_| ()).unwrap();
        let report = Report::new(&records, replay.workers);
        assert_eq!((report.requests, report.errors), (trace.requests.len(), 0));
        let first = report.first_token;
        let [mean, p90, p99] = replay.first_token;
        let figures = [
            ("hit", report.hit, replay.hit),
            ("first token mean", first.mean, Some(mean)),
            ("first token p90", first.p90, Some(p90)),
            ("first token p99", first.p99, Some(p99)),
            ("token mean", report.token_mean, replay.token_mean),
            ("end to end", report.end_to_end.mean, replay.end_to_end),
        ];
        for (name, ours, theirs) in figures {
            let Some(theirs) = theirs else { continue };
            let off = ours / theirs - 1.0;
            let line = format!(
                "{} workers x{}: {name} {ours:.3}, Dynamo's {theirs} ({:+.1} %)",
                replay.workers,
                replay.speed,
                off * 100.0
            );
            println!("{line}");
            if off.abs() > tolerance {
                far.push(line);
            }
        }
    }
    assert!(far.is_empty(), "{far:#?}");
}
