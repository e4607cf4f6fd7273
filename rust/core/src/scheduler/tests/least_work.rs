//! `least_work` and what it learns, through the scheduler.

use super::*;

const BLOCK: u32 = 512;

/// A prompt of blocks of 512 tokens.
fn ask(hashes: &[u64], stream: bool) -> Ask<'static> {
    Ask {
        tokens: 0,
        weight: 0,
        prefix: Some(Prefix::of_blocks(
            hashes.to_vec(),
            BLOCK,
            BLOCK * hashes.len() as u32,
        )),
        exact: true,
        model: None,
        session: None,
        stream,
        exclude: &[],
    }
}

fn decide_at(scheduler: &Scheduler, hashes: &[u64], stream: bool, now: u64) -> Decision {
    let decision = scheduler.decide(Role::Mixed, ask(hashes, stream), now);
    decision.unwrap().unwrap()
}

/// A stream that is served at once, and what its engine says was cached.
fn serve(scheduler: &Scheduler, hashes: &[u64], cached: u64) -> Decision {
    let decision = decide_at(scheduler, hashes, true, 0);
    decision.lease.first_byte(0);
    let usage = Usage {
        prompt: u64::from(BLOCK) * hashes.len() as u64,
        cached: Some(cached * u64::from(BLOCK)),
    };
    scheduler.learn(&decision, usage);
    decision.lease.release();
    decision
}

fn own(number: u64) -> Vec<u64> {
    (1..=4).map(|block| 100 * (number + 1) + block).collect()
}

#[test]
fn an_idle_fleet_is_used_evenly() {
    let scheduler = fleet(Policy::LeastWork, 4);
    let served: Vec<Decision> = (0..400)
        .map(|number| serve(&scheduler, &own(number), 0))
        .collect();
    let mut counts = BTreeMap::new();
    for decision in &served {
        *counts.entry(url(decision)).or_insert(0) += 1;
    }
    assert!(
        counts.values().all(|&count| (95..=105).contains(&count)),
        "{counts:?}"
    );
}

#[test]
fn a_prefix_draws_until_there_is_too_much_to_do() {
    let scheduler = fleet(Policy::LeastWork, 2);
    let shared: Vec<u64> = (1..=10).collect();
    let home = url(&serve(&scheduler, &shared, 0)).to_owned();
    let mut held = Vec::new();
    while held.last().is_none_or(|last| url(last) == home) {
        let number = held.len() as u64;
        let prompt: Vec<u64> = shared.iter().copied().chain(own(number)).collect();
        held.push(decide_at(&scheduler, &prompt, true, 0));
    }
    // Each adds 4 blocks to the 4 that it lacks there; elsewhere it lacks 14.
    assert_eq!(
        held.len(),
        4,
        "(12 + 4) blocks, less 240 tokens, x 35 running and 42 blocks, against 14 x 32"
    );
}

#[test]
fn a_prefix_is_not_left_for_the_little_that_waits() {
    let scheduler = fleet(Policy::LeastWork, 2);
    let home = url(&serve(&scheduler, &[1], 0)).to_owned();
    // Each lacks 100 tokens there and 612 elsewhere.
    let next = || {
        let mut turn = ask(&[], true);
        turn.prefix = Some(Prefix::of_blocks(vec![1], BLOCK, BLOCK + 100));
        scheduler.decide(Role::Mixed, turn, 0).unwrap().unwrap()
    };
    let mut held = vec![next()];
    while held.last().is_some_and(|last| url(last) == home) {
        held.push(next());
    }
    assert_eq!(held.len(), 7, "5 if what waits counted in full");
}

#[test]
fn long_prompts_that_are_decoded_keep_others_away() {
    let scheduler = fleet(Policy::LeastWork, 2);
    let long: Vec<u64> = (1..=40).collect();
    let decoded = decide_at(&scheduler, &long, true, 0);
    decoded.lease.first_byte(0);
    let short: Vec<Decision> = (0..5)
        .map(|number| {
            let short = decide_at(&scheduler, &[1_000 + number], true, 0);
            short.lease.first_byte(0);
            short
        })
        .collect();
    let away = |each: &Decision| url(each) != url(&decoded);
    assert!(
        short.iter().all(away),
        "five short ones run, and one long one"
    );
}

#[test]
fn whole_answers_give_their_pending_tokens_back_in_time() {
    let scheduler = fleet(Policy::LeastWork, 1);
    let stream = decide_at(&scheduler, &own(0), true, 0);
    stream.lease.first_byte(1_000);
    let worker = Arc::clone(stream.lease.worker());
    let unary = decide_at(&scheduler, &own(1), false, 2_000);
    assert!(worker.pending() > 2_000.0);
    drop(decide_at(&scheduler, &own(2), true, 2_900));
    assert!(worker.pending() > 2_000.0, "its second is not over");
    drop(decide_at(&scheduler, &own(3), true, 3_100));
    assert!(worker.pending() < 1.0);
    assert_eq!(unary.lease.release(), Some((1, Some(0))));
    assert!(worker.pending() < 1.0, "given back once");
}

#[test]
fn a_record_that_gave_no_byte_is_taken_back() {
    let scheduler = fleet(Policy::LeastWork, 1);
    let lost = decide_at(&scheduler, &own(0), true, 0);
    scheduler.take_back(&lost);
    drop(lost);
    assert_eq!(serve(&scheduler, &own(0), 0).hit_ratio(), Some(0.0));
    assert_eq!(serve(&scheduler, &own(0), 4).hit_ratio(), Some(1.0));
}

/// An engine that really is a cache of so many blocks, least recently used first out.
struct Engine {
    size: usize,
    blocks: Vec<u64>,
}

impl Engine {
    /// Blocks of the prompt that were cached; all of it is now.
    fn serve(&mut self, hashes: &[u64]) -> u64 {
        let cached = hashes.iter().take_while(|hash| self.blocks.contains(hash));
        let cached = cached.count() as u64;
        self.blocks.retain(|block| !hashes.contains(block));
        self.blocks.extend(hashes.iter().rev());
        let surplus = self.blocks.len().saturating_sub(self.size);
        self.blocks.drain(..surplus);
        cached
    }
}

/// Share of predicted tokens that were gone, over `count` requests of sessions that come back in turn.
fn over_prediction(scheduler: &Scheduler, engine: &mut Engine, sessions: u64, count: u64) -> f64 {
    let before = scheduler.truth();
    for number in 0..count {
        let prompt = own(fastrand::Rng::with_seed(number).u64(..sessions));
        let cached = engine.serve(&prompt);
        serve(scheduler, &prompt, cached);
    }
    let after = scheduler.truth();
    (after.gone - before.gone) as f64 / (after.prompt - before.prompt) as f64
}

#[test]
fn a_capacity_is_learned_and_learned_anew() {
    let scheduler = fleet(Policy::LeastWork, 1);
    let mut engine = Engine {
        size: 400,
        blocks: Vec::new(),
    };
    over_prediction(&scheduler, &mut engine, 200, 3_000);
    let late = over_prediction(&scheduler, &mut engine, 200, 1_000);
    assert!(late < 0.05, "{late} of the prompts' tokens were gone");
    let found = scheduler.capacities()[0].1 / f64::from(BLOCK);
    assert!((300.0..=440.0).contains(&found), "{found} of 400 blocks");
    engine.size = 200;
    over_prediction(&scheduler, &mut engine, 200, 200);
    let halved = over_prediction(&scheduler, &mut engine, 200, 1_000);
    assert!(halved < 0.05, "{halved} of the prompts' tokens were gone");
}

#[test]
fn a_capacity_that_is_told_holds_until_it_is_told_otherwise() {
    let scheduler = fleet(Policy::LeastWork, 1);
    scheduler.tell_capacity("a", 4_096.0);
    scheduler.tell_capacity("nobody", 1.0);
    assert_eq!(scheduler.capacities(), [("a".to_owned(), 4_096.0)]);
    serve(&scheduler, &own(0), 0);
    assert_eq!(serve(&scheduler, &own(0), 4).hit_ratio(), Some(1.0));
    for number in 1..=2 {
        serve(&scheduler, &own(number), 0);
    }
    assert_eq!(
        serve(&scheduler, &own(0), 0).hit_ratio(),
        Some(0.0),
        "it lapsed"
    );
    let learned = scheduler.capacities();
    scheduler.tell_capacity("a", 4_096.0);
    assert_eq!(scheduler.capacities(), learned, "the same again is no news");
    scheduler.forget_prefixes("a", 0);
    assert_eq!(scheduler.capacities(), learned);
}

#[test]
fn what_a_cache_holds_grows_to_its_capacity() {
    let scheduler = fleet(Policy::LeastWork, 2);
    scheduler.tell_capacity("a", 4_096.0);
    let held = || {
        let mut held = scheduler.held();
        held.sort_by(|one, other| one.0.cmp(&other.0));
        held
    };
    assert_eq!(held(), [("a".to_owned(), 0.0), ("b".to_owned(), 0.0)]);
    for number in 0..20 {
        serve(&scheduler, &own(number), 0);
    }
    let [(_, full), (_, open)] = &held()[..] else {
        panic!("two workers");
    };
    assert!((2_048.0..=4_096.0).contains(full), "{full}");
    assert!(*open > 4_096.0, "{open} of a capacity that is not known");
    scheduler.forget_prefixes("a", 0);
    assert!(held()[0].1 < 1.0);
}

#[test]
fn tokens_are_learned_by_model() {
    let scheduler = fleet(Policy::LeastWork, 1);
    let body = Body::scan(
        format!("{{\"model\":\"m\",\"prompt\":\"{}\"}}", "a".repeat(4_000)),
        Prompt::Plain,
    )
    .unwrap();
    let first = decide(&scheduler, Role::Mixed, &body, &[]);
    assert!((first.lease.worker().pending() - 1_000.0).abs() < 1.0);
    let usage = Usage {
        prompt: 2_000,
        cached: None,
    };
    scheduler.learn(&first, usage);
    drop(first);
    let second = decide(&scheduler, Role::Mixed, &body, &[]);
    assert!((second.lease.worker().resident() - 2_000.0).abs() < 1.0);
    assert_eq!(scheduler.truth(), TruthStats::default(), "absent is not 0");
}

#[test]
fn decode_workers_go_by_what_fills_their_caches() {
    let scheduler = scheduler(&[(Role::Decode, Policy::LeastWork)]);
    scheduler.add("a", Role::Decode);
    scheduler.add("b", Role::Decode);
    let decide = |blocks: u64| {
        let hashes: Vec<u64> = (0..blocks).collect();
        let decision = scheduler.decide(Role::Decode, ask(&hashes, true), 0);
        decision.unwrap().unwrap()
    };
    let long = decide(10);
    let held: Vec<Decision> = (0..3).map(|_| decide(2)).collect();
    assert_eq!(url(&long), "a");
    assert!(held.iter().all(|decision| url(decision) == "b"));
    long.lease.first_byte(0);
    assert_eq!(url(&decide(1)), "b", "a first byte frees no cache");
}

#[test]
fn volume_counts_for_no_other_policy() {
    let scheduler = fleet(Policy::CacheAware, 1);
    scheduler.tell_capacity("a", 4_096.0);
    for number in 0..=100 {
        serve(&scheduler, &own(number), 0);
    }
    assert_eq!(serve(&scheduler, &own(0), 4).hit_ratio(), Some(1.0));
    assert!(!scheduler.capacities().is_empty(), "it is shown");
}
