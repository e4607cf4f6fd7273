//! A scheduler that goes on from the snapshot of another one.

use proptest::prelude::*;
use xxhash_rust::xxh3::xxh3_64;

use super::*;

fn snapshot(scheduler: &Scheduler) -> Vec<u8> {
    let mut copy = scheduler.copy_begin();
    let mut bytes = Vec::new();
    while let Some(piece) = scheduler.copy_more(&mut copy, 1_000).unwrap() {
        bytes.extend(piece);
    }
    bytes
}

fn busy() -> Scheduler {
    let scheduler = fleet(Policy::LeastWork, 3);
    for number in 0..40 {
        let text = format!("{number:04}").repeat(1 + number % 7);
        select(&scheduler, &text);
    }
    scheduler.tell_capacity("a", 5_000.0);
    scheduler.tell_start("a", 17.5);
    scheduler.scales.lock().learn(3, 150.0, 100.0);
    scheduler
}

fn empty() -> Scheduler {
    scheduler(&[(Role::Mixed, Policy::LeastWork)])
}

/// Whom a request goes to, and its predicted hit in percent; nobody answers it.
fn hit(scheduler: &Scheduler, text: &str) -> (String, u32) {
    let decision = select(scheduler, text);
    let ratio = decision.hit_ratio().unwrap();
    scheduler.take_back(&decision);
    (url(&decision).to_owned(), (100.0 * ratio) as u32)
}

/// The sum that belongs to changed bytes.
fn summed(mut bytes: Vec<u8>) -> Vec<u8> {
    let body = bytes.len() - 8;
    let sum = xxh3_64(&bytes[..body]);
    bytes[body..].copy_from_slice(&sum.to_le_bytes());
    bytes
}

#[test]
fn workers_go_on_with_what_was_learned_and_half_of_their_prefixes() {
    let before = scheduler(&[(Role::Mixed, Policy::LeastWork)]);
    before.add("a", Role::Mixed);
    before.add("b", Role::Mixed);
    let holder = url(&select(&before, LONG)).to_owned();
    before.tell_capacity("a", 5_000.0);
    before.tell_capacity("b", 6_000.0);
    before.tell_start("a", 17.5);
    before.scales.lock().learn(3, 150.0, 100.0);
    let after = empty();
    let restored = after.restore(&snapshot(&before), 5, 1_500).unwrap();
    assert_eq!(restored.workers, 2);
    assert_eq!(restored.blocks, before.tree().blocks);
    after.add("a", Role::Mixed);
    after.add("b", Role::Mixed);
    assert_eq!(hit(&after, LONG), (holder, 50));
    assert_eq!(after.capacities(), before.capacities());
    assert!((after.scales.lock().of(3) - 1.5).abs() < f64::EPSILON);
    assert!(!after.tell_start("a", 17.5), "the same engine");
    assert!(
        !after.tell_start("a", 16.5),
        "one of several behind one url"
    );
    assert!(after.tell_start("a", 18.5));
    assert!(!after.tell_start("b", 18.5));
    assert!(!after.tell_start("nobody", 18.5));
    after.tell_capacity("a", 5_000.0);
    assert!(snapshot(&after).len() > 100);
}

#[test]
fn who_is_not_back_when_the_start_is_over_is_cold() {
    let before = fleet(Policy::LeastWork, 1);
    select(&before, LONG);
    let bytes = snapshot(&before);
    for settles in [false, true] {
        let after = empty();
        after.restore(&bytes, 0, 0).unwrap();
        if settles {
            after.settle();
        }
        after.add("a", Role::Mixed);
        assert_eq!(hit(&after, LONG).1, if settles { 0 } else { 50 });
    }
}

#[test]
fn an_engine_that_ended_meanwhile_is_cold() {
    let before = fleet(Policy::LeastWork, 1);
    select(&before, LONG);
    let after = empty();
    after.restore(&snapshot(&before), 0, 0).unwrap();
    after.forget_prefixes("a", 0);
    after.add("a", Role::Mixed);
    assert_eq!(hit(&after, LONG).1, 0);
}

/// A worker that was sent prompts of ten blocks, and a scheduler that has it from a snapshot.
fn gone_on(prompts: usize) -> (Scheduler, Vec<String>) {
    let texts: Vec<String> = (0..prompts)
        .map(|number| format!("{number:04}").repeat(400))
        .collect();
    let before = fleet(Policy::LeastWork, 1);
    for text in &texts {
        select(&before, text);
    }
    let after = empty();
    after.restore(&snapshot(&before), 0, 0).unwrap();
    after.add("a", Role::Mixed);
    (after, texts)
}

fn answer(scheduler: &Scheduler, text: &str, cached: u64) {
    let decision = select(scheduler, text);
    let usage = Usage {
        prompt: 400,
        cached: Some(cached),
    };
    scheduler.learn(&decision, usage);
}

#[test]
fn a_true_hit_confirms_the_snapshot() {
    let (scheduler, texts) = gone_on(3);
    assert_eq!(hit(&scheduler, &texts[0]).1, 50);
    answer(&scheduler, &texts[1], 96);
    assert_eq!(hit(&scheduler, &texts[2]).1, 100);
}

#[test]
fn the_same_start_confirms_it_too() {
    let before = fleet(Policy::LeastWork, 1);
    select(&before, LONG);
    before.tell_start("a", 17.5);
    let bytes = snapshot(&before);
    for (secs, counts) in [(17.5, 100), (16.5, 50)] {
        let after = empty();
        after.restore(&bytes, 0, 0).unwrap();
        after.add("a", Role::Mixed);
        assert!(!after.tell_start("a", secs));
        assert_eq!(hit(&after, LONG).1, counts);
    }
}

#[test]
fn answers_without_a_hit_refute_it_and_teach_no_capacity() {
    let (scheduler, texts) = gone_on(6);
    for at in 0..2 {
        answer(&scheduler, &texts[at], 0);
        assert_eq!(hit(&scheduler, &texts[3 + at]).1, 50, "it may be gone");
    }
    answer(&scheduler, &texts[2], 0);
    assert_eq!(hit(&scheduler, &texts[5]).1, 0);
    assert!(scheduler.capacities().is_empty());
}

#[test]
fn a_running_scheduler_takes_no_prefixes() {
    let before = busy();
    let after = fleet(Policy::LeastWork, 2);
    select(&after, LONG);
    let blocks = after.tree().blocks;
    assert_eq!(after.restore(&snapshot(&before), 0, 0).unwrap().blocks, 0);
    assert_eq!(after.tree().blocks, blocks);
    after.tree.lock().check();
}

#[test]
fn what_is_no_use_is_told() {
    let good = snapshot(&busy());
    let told = |bytes: &[u8]| empty().restore(bytes, 0, 0).unwrap_err();
    assert_eq!(told(b""), RestoreError::NoSnapshot);
    assert_eq!(told(b"{\"version\": 1}"), RestoreError::NoSnapshot);
    let mut other = good.clone();
    other[8] = 9;
    assert_eq!(told(&other), RestoreError::Version(9));
    let mut other = good.clone();
    other[12] = 5;
    assert_eq!(told(&other), RestoreError::Damaged);
    assert_eq!(told(&summed(other)), RestoreError::BlockSize(5, 4));
    let mut other = good.clone();
    other[16] ^= 1;
    assert_eq!(told(&summed(other)), RestoreError::Hashes);
    for cut in 12..good.len() {
        assert_eq!(told(&good[..cut]), RestoreError::Damaged, "at {cut}");
    }
    let mut longer = good;
    longer.push(0);
    assert_eq!(told(&longer), RestoreError::Damaged);
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_no_snapshot(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(empty().restore(&bytes, 0, 0).is_err());
    }

    /// Also where the sum is right: nothing that a file says breaks anything.
    #[test]
    fn a_snapshot_that_lies_does_no_harm(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20), cut in any::<prop::sample::Index>()
    ) {
        let mut bytes = snapshot(&busy());
        let length = bytes.len();
        for (at, value) in changes {
            bytes[24 + at.index(length - 24)] = value;
        }
        for bytes in [summed(bytes.clone()), summed(bytes[..32 + cut.index(length - 31)].to_vec())] {
            let after = empty();
            if after.restore(&bytes, 0, 0).is_ok() {
                for name in ["a", "b", "c"] {
                    after.add(name, Role::Mixed);
                }
                after.settle();
                after.tree.lock().check();
                for text in [LONG, "00010001", "0003000300030003"] {
                    select(&after, text);
                    after.tree.lock().check();
                }
                snapshot(&after);
            }
        }
    }
}
