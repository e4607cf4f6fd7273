use super::*;
use crate::loads::Loads;

const BLOCK: usize = 100;

/// Workers by (running, pending of each running, matched blocks) and what a rule makes of a prompt of 10 blocks.
fn chosen(kind: Kind, workers: &[(usize, usize, usize)]) -> usize {
    let mut loads = Loads::new(workers.len());
    let mut ticket = 0;
    for (worker, &(running, pending, _)) in workers.iter().enumerate() {
        for _ in 0..running {
            loads.book(ticket, worker, pending, &[1_000 + ticket as u64]);
            ticket += 1;
        }
    }
    let matched: Vec<usize> = workers.iter().map(|&(.., matched)| matched).collect();
    let blocks: Vec<u64> = (0..10).collect();
    let ask = Ask {
        request: 0,
        blocks: &blocks,
        block_size: BLOCK,
        input_tokens: 1_000,
        session: None,
        streamed: true,
    };
    let scene = Scene {
        ask: &ask,
        loads: loads.workers(),
        matched: &matched,
    };
    kind.build()
        .choose(&scene, &mut fastrand::Rng::with_seed(7))
}

#[test]
fn cache_aware_wants_more_than_a_third_and_balance() {
    let kind = Kind::CacheAware;
    assert_eq!(chosen(kind, &[(0, 0, 0), (9, 0, 4)]), 1);
    assert_eq!(chosen(kind, &[(0, 0, 0), (9, 0, 3)]), 0);
    assert_eq!(chosen(kind, &[(5, 0, 4), (9, 0, 5)]), 1);
    assert_eq!(chosen(kind, &[(0, 0, 0), (64, 0, 9)]), 1);
    assert_eq!(chosen(kind, &[(0, 0, 0), (65, 0, 9)]), 0);
    assert_eq!(chosen(kind, &[(140, 0, 0), (205, 0, 9)]), 1);
}

#[test]
fn the_sum_does_not_see_what_decodes() {
    assert_eq!(chosen(Kind::Sum, &[(0, 0, 0), (9, 0, 1)]), 1);
    assert_eq!(chosen(Kind::Product, &[(0, 0, 0), (9, 0, 1)]), 0);
    assert_eq!(chosen(Kind::Product, &[(0, 0, 0), (1, 0, 6)]), 1);
}

#[test]
fn affinity_ends_after_eighteen_seconds() {
    // A holder waits as long as its 200 missing tokens and the 800 that the others would take more let it.
    let limit = 18 * 15_928 + 800;
    assert_eq!(chosen(Kind::Affinity, &[(0, 0, 0), (1, limit, 8)]), 1);
    assert_eq!(chosen(Kind::Affinity, &[(0, 0, 0), (1, limit + 1, 8)]), 0);
    assert_eq!(chosen(Kind::Affinity, &[(0, 0, 0), (1, 900, 7)]), 0);
}

#[test]
fn dynamos_scale_weighs_prefill() {
    // Five requests occupy 10 blocks; the prompt lacks 10 blocks here and 7 there.
    let workers = [(0, 0, 0), (5, 0, 3)];
    assert_eq!(chosen(Kind::Dynamo, &workers), 0);
    assert_eq!(chosen(Kind::Dynamo32, &workers), 1);
}

#[test]
fn ties_go_around() {
    let mut chance = fastrand::Rng::with_seed(3);
    let mut counts = [0; 3];
    for _ in 0..300 {
        counts[lowest(0..3, &mut chance, |_| 1.0)] += 1;
    }
    assert!(counts.iter().all(|&count| count > 60), "{counts:?}");
}
