//! A tree that goes on from the copy of another one.

use super::super::{EdgeImage, TreeCopy};
use super::*;

/// The next piece of a copy, appended. Returns whether there is more.
fn piece(tree: &mut Tree, copy: &mut TreeCopy, bytes: &mut Vec<u8>) -> bool {
    tree.copy_more(copy, bytes).unwrap()
}

/// A copy in pieces of few nodes.
fn begin(tree: &mut Tree) -> TreeCopy {
    let mut copy = tree.begin_copy();
    copy.piece = 3;
    copy
}

fn copied(tree: &mut Tree) -> Vec<u8> {
    let (mut copy, mut bytes) = (begin(tree), Vec::new());
    while piece(tree, &mut copy, &mut bytes) {}
    bytes
}

fn edges(bytes: &[u8]) -> Vec<EdgeImage<'_>> {
    let mut edges = Vec::new();
    let mut rest = bytes;
    while let Some((&blocks, after)) = rest.split_first() {
        let (holders, after) = after.split_first_chunk().unwrap();
        let (stamp, after) = after.split_first_chunk().unwrap();
        let holders = usize::from(u16::from_le_bytes(*holders));
        let (holders, after) = after.split_at(3 * holders);
        let (hashes, after) = after.split_at(8 * usize::from(blocks));
        edges.push(EdgeImage {
            stamp: u64::from_le_bytes(*stamp),
            holders,
            hashes,
        });
        rest = after;
    }
    edges
}

/// A tree that goes on from a copy, `away` later, with its own clock at 0.
fn restored(tree: &Tree, fleet: &Fleet, bytes: &[u8], away: u64) -> (Tree, Fleet) {
    let mut after = Tree::new(tree.capacity, IDLE);
    assert!(after.go_on(tree.clock(), away, 0));
    let mut slots = vec![None; Slot::LIMIT];
    for slot in &fleet.0 {
        slots[slot.index()] = after.expect(&tree.history(*slot));
    }
    after.restore(edges(bytes).into_iter().rev(), &slots);
    after.check();
    let slots = fleet.0.iter().map(|slot| slots[slot.index()].unwrap());
    let fleet = Fleet(slots.collect());
    (after, fleet)
}

proptest! {
    #[test]
    fn a_copy_is_the_tree_and_counts_half(
        ops in prop::collection::vec(op(9), 1..60), again in prop::collection::vec(op(9), 0..10)
    ) {
        let mut tree = Tree::new(usize::MAX / 2, IDLE);
        let mut fleet = Fleet::join(&mut tree, 9);
        let mut now = 1;
        let mut prompts = Vec::new();
        for op in ops {
            match op {
                Op::Record { prompt, worker } => {
                    tree.record(&chain(&prompt), fleet.0[worker], 5.0, now);
                    prompts.push(prompt);
                }
                Op::Match { prompt } => prompts.push(prompt),
                Op::Wait(time) => now += time,
                Op::Expire => { tree.expire(now); }
                Op::Forget(worker) => fleet.restart(&mut tree, worker),
            }
        }
        tree.expire(now);
        let bytes = copied(&mut tree);
        let (mut after, same) = restored(&tree, &fleet, &bytes, 0);
        for prompt in &prompts {
            let was = fleet.matched(&tree, &chain(prompt), now);
            let half: Vec<u32> = was.iter().map(|blocks| blocks / 2).collect();
            prop_assert_eq!(same.matched(&after, &chain(prompt), 0), half);
        }
        // Recorded anew it counts in full, and the rest as before.
        for op in again {
            let Op::Record { prompt, worker } = op else { continue };
            let hashes = chain(&prompt);
            tree.record(&hashes, fleet.0[worker], 5.0, now);
            after.record(&hashes, same.0[worker], 5.0, 0);
            after.check();
            prop_assert_eq!(same.matched(&after, &hashes, 0)[worker] as usize, hashes.len());
            prompts.push(prompt);
        }
        for slot in &same.0 {
            after.trust(*slot);
        }
        after.check();
        for prompt in &prompts {
            let was = fleet.matched(&tree, &chain(prompt), now);
            prop_assert_eq!(same.matched(&after, &chain(prompt), 0), was);
        }
    }

    /// Whatever goes on between two pieces: what was there before and is left alone is copied, and nobody gets more
    /// than was recorded.
    #[test]
    fn a_copy_of_a_tree_that_changes(
        before in prop::collection::vec(op(5), 1..40), between in prop::collection::vec(op(5), 0..40)
    ) {
        let mut tree = Tree::new(usize::MAX / 2, IDLE);
        let mut fleet = Fleet::join(&mut tree, 5);
        let mut naive = Naive::default();
        let mut known = Vec::new();
        let mut step = |tree: &mut Tree, op: Op, fleet: &mut Fleet| match op {
            Op::Record { prompt, worker } => {
                tree.record(&chain(&prompt), fleet.0[worker], 0.0, 1);
                naive.record(&chain(&prompt), worker, 1);
                known.push((prompt, worker));
            }
            _ => { tree.expire(1); }
        };
        for op in before {
            step(&mut tree, op, &mut fleet);
        }
        let (mut copy, mut bytes) = (begin(&mut tree), Vec::new());
        let mut more = true;
        for op in between {
            more = more && piece(&mut tree, &mut copy, &mut bytes);
            step(&mut tree, op, &mut fleet);
        }
        while more && piece(&mut tree, &mut copy, &mut bytes) {}
        tree.check();
        let (mut after, same) = restored(&tree, &fleet, &bytes, 0);
        for slot in &same.0 {
            after.trust(*slot);
        }
        for (prompt, _) in &known {
            let hashes = chain(prompt);
            let found = same.matched(&after, &hashes, 0);
            for (worker, blocks) in found.into_iter().enumerate() {
                prop_assert!(blocks <= naive.matched(&hashes, worker, 1));
            }
        }
        // Going on with it is as safe as with any other tree.
        for (prompt, worker) in &known {
            after.record(&chain(prompt), same.0[*worker], 0.0, 2);
            after.check();
            prop_assert_eq!(
                same.matched(&after, &chain(prompt), 2)[*worker] as usize, chain(prompt).len()
            );
        }
    }

    #[test]
    fn any_edges_make_a_sound_tree(
        parts in prop::collection::vec(
            (0_u64..60, prop::collection::vec(any::<u8>(), 0..12), prop::collection::vec(0_u64..9, 1..40)), 0..40
        ),
        wanted in prop::collection::vec(0_u64..9, 0..12)
    ) {
        let mut tree = Tree::new(MIN_CAPACITY, IDLE);
        prop_assert!(tree.go_on(50, 0, 0));
        let slots: Vec<Option<Slot>> = (0..300).map(|_| tree.expect(&[1e9; 80])).collect();
        let parts: Vec<(u64, Vec<u8>, Vec<u8>)> = parts
            .into_iter()
            .map(|(stamp, holders, hashes)| {
                (stamp, holders, hashes.iter().flat_map(|hash| hash.to_le_bytes()).collect())
            })
            .collect();
        let edges = parts.iter().map(|(stamp, holders, hashes)| EdgeImage { stamp: *stamp, holders, hashes });
        tree.restore(edges, &slots);
        tree.check();
        let mut credit = Vec::new();
        tree.matches(&wanted, 0, &mut credit);
        tree.record(&of_text(b"ABCD", 1), slots[0].unwrap(), 1.0, 0);
        tree.check();
        while tree.expire(3 * IDLE).more {}
        tree.check();
        prop_assert_eq!(tree.stats().blocks, 0);
    }
}

#[test]
fn what_was_left_alone_is_copied_while_the_rest_changes() {
    let mut tree = Tree::new(64 << 20, IDLE);
    let fleet = Fleet::join(&mut tree, 2);
    let own = |prompt: i64| of_tokens(&[prompt, 1, 2, 3], 1);
    for prompt in 0..200 {
        tree.record(&own(prompt), fleet.0[0], 0.0, 0);
    }
    let (mut copy, mut bytes) = (begin(&mut tree), Vec::new());
    let mut turn = 0;
    while piece(&mut tree, &mut copy, &mut bytes) {
        // The node that the copy is about to come to, and one that it has.
        tree.record(&own(3 * turn), fleet.0[1], 0.0, 0);
        tree.record(&of_tokens(&[turn, 1, 9], 1), fleet.0[1], 0.0, 0);
        turn += 1;
    }
    assert!(turn > 60);
    let (mut after, same) = restored(&tree, &fleet, &bytes, 0);
    for slot in &same.0 {
        after.trust(*slot);
    }
    for prompt in 0..200 {
        assert_eq!(same.matched(&after, &own(prompt), 0)[0], 4, "{prompt}");
    }
}

#[test]
fn a_second_copy_ends_the_first() {
    let mut tree = Tree::new(MIN_CAPACITY, IDLE);
    let fleet = Fleet::join(&mut tree, 1);
    tree.record(&of_text(b"ABCD", 1), fleet.0[0], 0.0, 0);
    let mut first = tree.begin_copy();
    let mut second = tree.begin_copy();
    assert_eq!(tree.copy_more(&mut first, &mut Vec::new()), None);
    assert_eq!(tree.copy_more(&mut second, &mut Vec::new()), Some(false));
}

#[test]
fn of_too_many_blocks_the_last_recorded_are_copied() {
    let mut tree = Tree::new(64 << 20, IDLE);
    let fleet = Fleet::join(&mut tree, 1);
    let own = |prompt: i64| of_tokens(&vec![prompt; 1_000], 1);
    for prompt in 0..120 {
        tree.record(&own(prompt), fleet.0[0], 0.0, 0);
    }
    let (mut copy, mut bytes) = (begin(&mut tree), Vec::new());
    copy.surplus = 20_000;
    while piece(&mut tree, &mut copy, &mut bytes) {}
    let (after, same) = restored(&tree, &fleet, &bytes, 0);
    assert!(after.stats().blocks <= 100_000);
    assert_eq!(same.matched(&after, &own(119), 0), [500]);
    assert_eq!(same.matched(&after, &own(1), 0), [0]);
}

#[test]
fn the_time_away_counts() {
    let mut tree = Tree::new(MIN_CAPACITY, IDLE);
    let fleet = Fleet::join(&mut tree, 1);
    let (old, young) = (of_text(b"ABCD", 1), of_text(b"XYZW", 1));
    tree.record(&old, fleet.0[0], 0.0, 1_000);
    tree.record(&young, fleet.0[0], 0.0, 1_000 + IDLE / 2);
    let bytes = copied(&mut tree);
    let (mut after, same) = restored(&tree, &fleet, &bytes, IDLE / 2);
    assert_eq!(same.matched(&after, &old, 0), [0]);
    assert_eq!(same.matched(&after, &young, 0), [2]);
    after.record(&young, same.0[0], 0.0, IDLE / 4);
    assert_eq!(same.matched(&after, &young, IDLE / 4), [4]);
    while after.expire(3 * IDLE).more {}
    assert_eq!(after.stats().blocks, 0);
}

#[test]
fn what_nobody_confirms_counts_in_full_once_all_else_has_lapsed() {
    let mut tree = Tree::new(MIN_CAPACITY, IDLE);
    let fleet = Fleet::join(&mut tree, 1);
    let prompt = of_text(b"ABCD", 1);
    tree.record(&prompt, fleet.0[0], 4.0, 1);
    let bytes = copied(&mut tree);
    let (mut after, _) = restored(&tree, &fleet, &bytes, 0);
    assert!(after.clocks.any_unsure());
    after.expire(2 * IDLE);
    assert!(!after.clocks.any_unsure());
}

#[test]
fn a_clock_goes_on_where_it_was() {
    let mut tree = Tree::new(MIN_CAPACITY, IDLE);
    let fleet = Fleet::join(&mut tree, 1);
    let slot = fleet.0[0];
    tree.set_capacity(slot, Some(800.0));
    let first = of_text(b"ABCD", 1);
    tree.record(&first, slot, 100.0, 0);
    for prompt in 0..4 {
        tree.record(&of_tokens(&[prompt; 8], 1), slot, 100.0, 0);
    }
    let bytes = copied(&mut tree);
    let (mut after, same) = restored(&tree, &fleet, &bytes, 0);
    let slot = same.0[0];
    after.set_capacity(slot, Some(800.0));
    let spans = after.spans(&first, slot);
    assert!((spans[0].age - 400.0).abs() <= 100.0, "{spans:?}");
    assert!(!spans[0].sure);
    for prompt in 10..16 {
        after.record(&of_tokens(&[prompt; 8], 1), slot, 100.0, 0);
    }
    assert_eq!(same.matched(&after, &first, 0), [0], "it lapsed by volume");
}
