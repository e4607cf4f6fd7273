//! Routers that tell each other of prefixes.

use proptest::prelude::*;

use super::*;
use crate::share::MIN_LIMIT;

/// Schedulers of mixed workers `a` to `c`, which share.
fn routers<const N: usize>() -> [Scheduler; N] {
    [(); N].map(|()| {
        let scheduler = fleet(Policy::LeastWork, 3);
        scheduler.share(MIN_LIMIT);
        scheduler
    })
}

fn batches(scheduler: &Scheduler) -> Vec<Vec<u8>> {
    std::iter::from_fn(|| scheduler.take_recorded(1 << 16)).collect()
}

/// One's news to another. Returns what came of them.
fn tell(from: &Scheduler, to: &Scheduler) -> Applied {
    hear(to, &batches(from), 0)
}

fn hear(to: &Scheduler, batches: &[Vec<u8>], now: u64) -> Applied {
    let mut sum = Applied::default();
    for batch in batches {
        let one = to.apply_recorded(batch, now, |_| ());
        sum.applied += one.applied;
        sum.unknown += one.unknown;
        sum.bad += one.bad;
    }
    sum
}

const fn applied(applied: u64) -> Applied {
    Applied {
        applied,
        unknown: 0,
        bad: 0,
    }
}

/// Blocks of a prompt that each of the workers is thought to have.
fn credit(scheduler: &Scheduler, text: &str) -> [u32; 3] {
    let prefix = scheduler.prefix(&prompt(text), None).unwrap();
    let roster = scheduler.roster.read();
    let mut credit = Vec::new();
    let tree = scheduler.tree.lock();
    tree.matches(prefix.hashes(), 0, &mut credit);
    ["a", "b", "c"].map(|url| credit[roster.slot(url).unwrap().index()])
}

/// A prompt of so many blocks, the first ones those of a session.
fn turn(session: u8, blocks: usize) -> String {
    let session = char::from_u32(0x100 + u32::from(session)).unwrap();
    let block = |place: usize| format!("{session}{place:03x}");
    (0..blocks).map(block).collect()
}

/// Sends a prompt to one worker.
fn send(scheduler: &Scheduler, worker: &str, text: &str) -> Decision {
    let others = ["a", "b", "c"].into_iter().filter(|url| *url != worker);
    let others: Vec<&str> = others.collect();
    decide(scheduler, Role::Mixed, &prompt(text), &others)
}

#[test]
fn a_prefix_learned_by_one_is_used_by_another() {
    let [one, two] = routers();
    let first = send(&one, "b", LONG);
    assert_eq!(tell(&one, &two), applied(1));
    assert_eq!(credit(&two, LONG), [0, 10, 0]);
    drop(first);
    assert_eq!(url(&select(&two, &format!("{LONG}more"))), "b");
    let worker = two.roster.read().worker("b").map(Arc::clone).unwrap();
    assert!(worker.recorded(0) > 10.0, "what it was given counts");
}

#[test]
fn only_new_blocks_are_told_and_nothing_is_told_twice_or_passed_on() {
    let [one, two, three] = routers();
    send(&one, "a", &turn(1, 1_000));
    let whole = batches(&one).concat();
    send(&one, "a", &turn(1, 1_002));
    let next = batches(&one).concat();
    assert!(whole.len() > 8_000 && next.len() < 60, "{}", next.len());
    send(&one, "b", &turn(1, 504));
    let elsewhere = batches(&one).concat();
    assert!(elsewhere.len() < 50, "known blocks at another worker");
    send(&one, "c", &turn(1, 95));
    let between = batches(&one).concat();
    assert!(between.len() < 110, "from the eighth block before on");
    assert!(one.take_recorded(1 << 16).is_none());
    assert_eq!(
        hear(&two, &[whole, next, elsewhere, between], 0),
        applied(4)
    );
    assert_eq!(credit(&two, &turn(1, 2_000)), [1_002, 504, 95]);
    assert!(two.take_recorded(1 << 16).is_none(), "no echo");
    send(&two, "c", &turn(1, 3));
    assert_eq!(
        tell(&two, &three),
        applied(1),
        "it tells from the beginning"
    );
    assert_eq!(credit(&three, &turn(1, 9)), [0, 0, 3]);
}

#[test]
fn what_goes_on_from_something_unknown_is_counted_until_all_is_told_anew() {
    let [one, late] = routers();
    send(&one, "a", &turn(1, 10));
    batches(&one);
    send(&one, "a", &turn(1, 12));
    let unknown = Applied {
        unknown: 1,
        ..applied(0)
    };
    assert_eq!(tell(&one, &late), unknown);
    assert_eq!(credit(&late, &turn(1, 12)), [0, 0, 0]);
    one.share(MIN_LIMIT);
    send(&one, "a", &turn(1, 13));
    assert_eq!(tell(&one, &late), applied(1));
    assert_eq!(credit(&late, &turn(1, 13)), [13, 0, 0]);
    late.remove("a");
    send(&one, "a", &turn(1, 14));
    assert_eq!(tell(&one, &late), unknown, "its worker is not there");
    late.add("a", Role::Mixed);
    send(&one, "a", &turn(1, 15));
    assert_eq!(tell(&one, &late), applied(1), "its blocks were heard of");
    assert_eq!(credit(&late, &turn(1, 15)), [15, 0, 0]);
}

#[test]
fn nothing_is_kept_before_it_is_wanted_nor_after() {
    let one = fleet(Policy::LeastWork, 3);
    send(&one, "a", LONG);
    assert_eq!((one.sharing(), one.take_recorded(99)), ((0, 0), None));
    one.share(MIN_LIMIT);
    send(&one, "a", LONG);
    assert_eq!(one.sharing(), (1, 0));
    one.share(0);
    send(&one, "a", LONG);
    assert_eq!((one.sharing(), one.take_recorded(99)), ((0, 1), None));
}

#[test]
fn what_waits_is_bounded_and_the_oldest_goes() {
    let [one, two] = routers();
    for session in 0..100 {
        send(&one, "a", &turn(session, 1_000));
    }
    let (waiting, dropped) = one.sharing();
    assert!((20..40).contains(&waiting), "{waiting} of 8,000 bytes");
    assert_eq!(waiting as u64 + dropped, 100);
    assert_eq!(tell(&one, &two), applied(waiting as u64));
    assert_eq!(credit(&two, &turn(0, 1_000)), [0, 0, 0]);
    assert_eq!(credit(&two, &turn(99, 1_000)), [1_000, 0, 0]);
}

#[test]
fn a_batch_is_as_long_as_allowed_or_one_record() {
    let [one, two] = routers();
    for session in 0..20 {
        send(&one, "a", &turn(session, 20));
    }
    let mut batches = Vec::new();
    while let Some(batch) = one.take_recorded(500) {
        assert!((300..=500).contains(&batch.len()), "{}", batch.len());
        batches.push(batch);
    }
    assert_eq!(hear(&two, &batches, 0), applied(20));
    send(&one, "a", &turn(99, 200));
    send(&one, "a", &turn(99, 201));
    assert!(one.take_recorded(500).unwrap().len() > 1_600);
    assert!(one.take_recorded(500).unwrap().len() < 60);
}

#[test]
fn what_had_no_answer_and_engines_that_ended_are_told() {
    let [one, two] = routers();
    send(&one, "a", &turn(1, 4));
    let failed = send(&one, "a", &turn(1, 9));
    one.take_back(&failed);
    send(&one, "b", &turn(1, 2));
    assert_eq!(tell(&one, &two), applied(4));
    assert_eq!(credit(&two, &turn(1, 9)), [4, 2, 0]);
    one.forget_prefixes("a", 50_000);
    assert_eq!(hear(&two, &batches(&one), 50_100), applied(1));
    assert_eq!(credit(&two, &turn(1, 9)), [0, 2, 0]);
}

#[test]
fn an_engines_end_that_several_saw_counts_once() {
    let [one, two, three] = routers();
    one.forget_prefixes("a", 50_000);
    let first = batches(&one);
    assert_eq!(hear(&two, &first, 50_100), applied(1));
    send(&two, "a", LONG);
    two.forget_prefixes("a", 50_200);
    assert_eq!(credit(&two, LONG), [0, 0, 0], "it saw it itself");
    assert_eq!(tell(&two, &three).applied, 1, "the prompt alone");
    send(&one, "a", LONG);
    assert_eq!(hear(&one, &first, 50_300), applied(1));
    assert_eq!(credit(&one, LONG), [10, 0, 0]);
    assert_eq!(hear(&one, &first, 60_001), applied(1));
    assert_eq!(credit(&one, LONG), [0, 0, 0], "another end");
}

#[test]
fn other_block_sizes_and_versions_are_bad() {
    let [one, two] = routers();
    send(&one, "a", LONG);
    let batch = batches(&one).concat();
    let bad = Applied {
        bad: 1,
        ..applied(0)
    };
    for place in [3, 4] {
        let mut other = batch.clone();
        other[place] += 1;
        assert_eq!(hear(&two, &[other], 0), bad);
    }
    assert_eq!(hear(&two, &[Vec::new()], 0), bad);
    assert_eq!(hear(&two, &[batch[..batch.len() - 1].to_vec()], 0), bad);
    assert_eq!(credit(&two, LONG), [0, 0, 0]);
}

/// What a router does, by numbers: a prompt, or news to others.
#[derive(Debug, Clone, Copy)]
enum Step {
    Send {
        router: usize,
        worker: usize,
        session: u8,
        blocks: usize,
        fails: bool,
    },
    Tell,
    Anew {
        router: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let send = (0..2_usize, 0..3_usize, 0..6_u8, 0..60_usize, 0..9_u8);
    prop_oneof![
        20 => send.prop_map(|(router, worker, session, blocks, fails)| Step::Send {
            router, worker, session, blocks, fails: fails == 0,
        }),
        3 => Just(Step::Tell),
        1 => (0..2_usize).prop_map(|router| Step::Anew { router }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// A third router that hears all that two told knows what both know.
    #[test]
    fn whoever_hears_all_knows_all(steps in prop::collection::vec(step(), 1..60)) {
        let [one, two, third] = routers();
        let both = [&one, &two];
        for step in steps {
            match step {
                Step::Send { router, worker, session, blocks, fails } => {
                    let text = turn(session, blocks);
                    let decision = send(both[router], ["a", "b", "c"][worker], &text);
                    // Else a prompt with nothing in it would be one.
                    if fails && blocks > 0 {
                        both[router].take_back(&decision);
                    }
                }
                Step::Anew { router } => both[router].share(MIN_LIMIT),
                Step::Tell => {
                    let [first, second] = both.map(batches);
                    for (batches, other) in [(&first, &two), (&second, &one)] {
                        prop_assert_eq!(hear(other, batches, 0).bad, 0);
                        let heard = hear(&third, batches, 0);
                        prop_assert_eq!((heard.bad, heard.unknown), (0, 0));
                    }
                }
            }
        }
        let [first, second] = both.map(batches);
        hear(&third, &first, 0);
        hear(&third, &second, 0);
        hear(&two, &first, 0);
        hear(&one, &second, 0);
        third.tree.lock().check();
        // What was taken back may fall between records of others, so only what stands is compared.
        for session in 0..6 {
            let own = both.map(|router| credit(router, &turn(session, 60)));
            let heard = credit(&third, &turn(session, 60));
            for worker in 0..3 {
                let known = own.map(|credit| credit[worker]);
                prop_assert!(
                    heard[worker] >= *known.iter().min().unwrap()
                        && heard[worker] <= *known.iter().max().unwrap(),
                    "session {} worker {}: {} of {:?}", session, worker, heard[worker], known
                );
            }
        }
    }

    /// Anything at all, alone and behind what is right.
    #[test]
    fn any_bytes_are_taken(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        start in any::<bool>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        end in any::<prop::sample::Index>(),
    ) {
        let [one, two] = routers();
        let mut batch = if start { crate::share::Start::bytes(4) } else { Vec::new() };
        batch.extend(&bytes);
        two.apply_recorded(&batch, 0, |_| ());
        let failed = send(&one, "a", &turn(1, 5));
        one.take_back(&failed);
        send(&one, "b", &turn(1, 9));
        one.forget_prefixes("b", 0);
        send(&one, "c", &turn(1, 3));
        let mut batch = batches(&one).concat();
        for (place, byte) in changes {
            let place = place.index(batch.len());
            batch[place] = byte;
        }
        batch.truncate(end.index(batch.len()) + 1);
        batch.extend(&bytes);
        for _ in 0..2 {
            let heard = two.apply_recorded(&batch, 0, |_| ());
            prop_assert!(heard.bad <= 1);
        }
        two.tree.lock().check();
        select(&two, &turn(1, 9));
    }
}
