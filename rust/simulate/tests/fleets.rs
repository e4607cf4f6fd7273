//! Runs small enough to be worked out by hand, and what must hold in every run.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::collections::HashMap;

use common::{Random, RoundRobin};
use fd_router_simulate::{
    Arrival, Ask, Batching, CacheChange, Chooser, Ended, Engine, Fleet, Model, Outcome, Pick,
    Record, Report, Request, Role, Serial, Ticket, Trace, simulate,
};

const BLOCK: usize = 512;

fn request(at: u64, input_tokens: usize, output_tokens: usize, blocks: &[u64]) -> Request {
    Request {
        arrival: Arrival::At(at),
        session: None,
        input_tokens,
        output_tokens,
        blocks: blocks.into(),
        streamed: true,
    }
}

fn trace(requests: Vec<Request>) -> Trace {
    Trace {
        requests,
        block_size: BLOCK,
    }
}

const SERIAL: Model = Model::Serial(Serial {
    base: 1_000,
    block: 60_000,
    token: 10_000,
});

fn batching() -> Model {
    Model::Batching(Batching::default())
}

/// Runs on one engine; records in the order of the trace.
fn alone(trace: &Trace, engine: &Engine) -> Vec<Record> {
    let mut chooser = Audit::new(RoundRobin::new(1));
    let mut records = simulate(trace, &Fleet::mixed(1, engine), &mut chooser, |_| ()).unwrap();
    chooser.check(records.len(), 1);
    records.sort_by_key(|record| record.request);
    records
}

fn prefill(tokens: f64) -> u64 {
    ((4.209_989e-7 * tokens * tokens + 1.518_344e-2 * tokens + 16.501_42) * 1_000.0).round() as u64
}

fn both(tokens: f64, used: f64) -> u64 {
    let prefill = 4.209_989e-7 * tokens * tokens + 1.518_344e-2 * tokens + 16.501_42;
    ((prefill + decode_ms(used)) * 1_000.0).round() as u64
}

fn decode_ms(used: f64) -> f64 {
    -25.74 * used * used + 54.01 * used + 5.74
}

fn decode(used: f64) -> u64 {
    (decode_ms(used) * 1_000.0).round() as u64
}

/// Passes everything on, and sees that each ticket's story is told once and in order.
struct Audit<C> {
    inner: C,
    open: HashMap<Ticket, (bool, Role)>,
    first_bytes: usize,
    ends: usize,
    now: u64,
}

impl<C> Audit<C> {
    fn new(inner: C) -> Self {
        Self {
            inner,
            open: HashMap::new(),
            first_bytes: 0,
            ends: 0,
            now: 0,
        }
    }

    fn at(&mut self, now: u64) {
        assert!(now >= self.now, "time ran backwards");
        self.now = now;
    }

    fn check(&self, requests: usize, legs: usize) {
        assert!(self.open.is_empty(), "tickets never ended");
        assert_eq!(self.ends, requests * legs);
    }
}

impl<C: Chooser> Chooser for Audit<C> {
    fn choose(&mut self, role: Role, ask: &Ask<'_>, ticket: Ticket, now: u64) -> Pick {
        self.at(now);
        assert!(self.open.insert(ticket, (false, role)).is_none());
        self.inner.choose(role, ask, ticket, now)
    }

    fn first_byte(&mut self, ticket: Ticket, now: u64) {
        self.at(now);
        let open = self.open.get_mut(&ticket).unwrap();
        assert!(!std::mem::replace(&mut open.0, true));
        self.first_bytes += 1;
        self.inner.first_byte(ticket, now);
    }

    fn end(&mut self, ticket: Ticket, ended: &Ended, now: u64) {
        self.at(now);
        let (_, role) = self.open.remove(&ticket).unwrap();
        assert_eq!(ended.cached_tokens.is_none(), role == Role::Decode);
        self.ends += 1;
        self.inner.end(ticket, ended, now);
    }
}

#[test]
fn serial_prompts_queue_and_answers_do_not() {
    let trace = trace(vec![
        request(0, 1_000, 3, &[1]),
        request(5, 1_030, 1, &[1, 2]),
        request(5, 1_030, 2, &[1, 2]),
    ]);
    let records = alone(&trace, &Engine::new(SERIAL, 10));
    // Two blocks; then one is cached and two are left, the second of them partial; then both are cached.
    let firsts: Vec<_> = records.iter().map(|record| record.first).collect();
    assert_eq!(firsts, [121_000, 242_000, 303_000]);
    let ends: Vec<_> = records.iter().map(|record| record.end).collect();
    assert_eq!(ends, [141_000, 242_000, 313_000]);
    let cached: Vec<_> = records.iter().map(|record| record.cached_tokens).collect();
    assert_eq!(cached, [0, 512, 1_024]);
}

#[test]
fn a_slower_engine_takes_longer() {
    let trace = trace(vec![request(7, 512, 2, &[1])]);
    let records = alone(&trace, &Engine::new(SERIAL, 10).slower(2.0));
    assert_eq!((records[0].first, records[0].end), (122_007, 142_007));
}

#[test]
fn a_lone_request_pays_the_formula() {
    let trace = trace(vec![request(0, 10_000, 3, &[])]);
    let records = alone(&trace, &Engine::new(batching(), 2_048));
    // 8,192 tokens, then the rest with the first token, then two more tokens: 20 blocks all the time.
    let used = 20.0 / 2_048.0;
    let first = prefill(8_192.0) + both(1_808.0, used);
    assert_eq!(records[0].first, first);
    assert_eq!(records[0].end, first + 2 * decode(used));
}

#[test]
fn an_answer_takes_a_block_when_it_crosses_into_it() {
    let trace = trace(vec![request(0, 512, 3, &[1])]);
    let records = alone(&trace, &Engine::new(batching(), 4));
    // The second token is computed from the first, which is the first one in block 2.
    let first = both(512.0, 0.25);
    assert_eq!(records[0].first, first);
    assert_eq!(records[0].end, first + 2 * decode(0.5));
}

#[test]
fn a_request_that_comes_in_waits_for_the_iteration_under_way() {
    let first = both(512.0, 2.0 / 2_048.0);
    let start = both(512.0, 1.0 / 2_048.0);
    let step = decode(2.0 / 2_048.0);
    let trace = trace(vec![
        request(0, 512, 400, &[1]),
        // In the middle of the third token's iteration.
        request(start + step + 10, 512, 1, &[1]),
    ]);
    let records = alone(&trace, &Engine::new(batching(), 2_048));
    // All of its only block is cached; it is computed again, into a block of its own.
    assert_eq!(records[1].cached_tokens, 0);
    let three = both(512.0, 3.0 / 2_048.0);
    assert_eq!(records[1].first, start + 2 * step + three);
    assert!(first < three);
}

#[test]
fn a_whole_prefix_is_found_up_to_its_last_token() {
    let cached = |tokens: usize| {
        let trace = trace(vec![
            request(0, 1_600, 1, &[1, 2, 3]),
            request(1_000_000, tokens, 1, &[1, 2, 3][..tokens / BLOCK]),
        ]);
        alone(&trace, &Engine::new(batching(), 100))[1].cached_tokens
    };
    assert_eq!(cached(1_537), 1_536);
    assert_eq!(cached(1_536), 1_024);
    assert_eq!(cached(1_535), 1_024);
}

#[test]
fn requests_of_one_iteration_share_a_prefix() {
    let trace = trace(vec![
        request(0, 1_100, 1, &[1, 2]),
        request(0, 1_200, 1, &[1, 2]),
    ]);
    let records = alone(&trace, &Engine::new(batching(), 100));
    assert_eq!(records[1].cached_tokens, 1_024);
    assert_eq!(records[0].first, records[1].first);
}

#[test]
fn a_full_cache_puts_the_last_one_back() {
    // Both prompts fit; both answers need a third block, and there is one.
    let trace = trace(vec![
        request(0, 1_000, 100, &[1]),
        request(0, 1_000, 100, &[2]),
    ]);
    let records = alone(&trace, &Engine::new(batching(), 5));
    assert_eq!(records[0].first, records[1].first);
    assert!(records[1].end > records[0].end);
    assert!(
        records
            .iter()
            .all(|record| record.outcome == Outcome::Served)
    );
    let roomy = alone(&trace, &Engine::new(batching(), 6));
    assert_eq!(roomy[0].end, roomy[1].end);
}

#[test]
fn what_cannot_fit_is_refused() {
    let trace = trace(vec![
        request(0, 1_000, 10, &[1]),
        request(0, 5_000, 1, &[]),
        request(0, 1_000, 3_000, &[]),
        request(0, 1_000, 10, &[3]),
    ]);
    for model in [batching(), SERIAL] {
        let records = alone(&trace, &Engine::new(model, 4));
        let report = Report::new(&records, 1);
        let errors = records
            .iter()
            .filter(|record| record.outcome == Outcome::Refused)
            .map(|record| record.request);
        // The serial model keeps no tokens of answers, and of these prompts only blocks with an id.
        let wanted = if matches!(model, Model::Serial(_)) {
            vec![]
        } else {
            vec![1, 2]
        };
        assert_eq!(errors.collect::<Vec<_>>(), wanted);
        assert_eq!(report.errors, wanted.len());
    }
}

#[test]
fn a_session_waits_for_its_answer() {
    let mut second = request(0, 1_030, 1, &[1, 2]);
    second.arrival = Arrival::After {
        request: 0,
        delay: 5_000,
    };
    let trace = trace(vec![request(0, 600, 4, &[1]), second]);
    let records = alone(&trace, &Engine::new(SERIAL, 10));
    assert_eq!(records[1].arrival, records[0].end + 5_000);
    assert_eq!(records[1].cached_tokens, 512);
}

#[test]
fn several_wait_for_one_answer_and_nobody_for_none() {
    let after = |request| Request {
        arrival: Arrival::After { request, delay: 7 },
        ..request_of_one_token()
    };
    let trace = trace(vec![
        request_of_one_token(),
        after(0),
        after(0),
        after(9),
        after(4),
    ]);
    let records = alone(&trace, &Engine::new(SERIAL, 10));
    let arrivals: Vec<_> = records
        .iter()
        .map(|record| (record.request, record.arrival))
        .collect();
    assert_eq!(arrivals, [(0, 0), (1, 61_007), (2, 61_007)]);
}

fn request_of_one_token() -> Request {
    request(0, 1, 1, &[])
}

#[test]
fn a_cache_shrinks_silently() {
    let blocks: Vec<u64> = (0..8).collect();
    let mut engine = Engine::new(batching(), 16);
    engine.changes.push(CacheChange {
        at: 1_000_000,
        cache_blocks: 4,
    });
    let trace = trace(vec![
        request(0, 4_097, 1, &blocks),
        request(500_000, 4_097, 1, &blocks),
        request(2_000_000, 2_000, 1, &blocks[..3]),
        request(3_000_000, 4_097, 1, &blocks),
    ]);
    let records = alone(&trace, &engine);
    assert_eq!(records[1].cached_tokens, 4_096);
    assert_eq!(records[2].cached_tokens, 3 * BLOCK);
    assert_eq!(records[3].outcome, Outcome::Refused);
}

#[test]
fn a_prompt_and_its_answer_on_two_engines() {
    let engine = Engine::new(batching(), 2_048);
    let fleet = Fleet::Disaggregated {
        prefill: vec![engine.clone()],
        decode: vec![engine],
        handover: 3_000,
    };
    let mut whole = request(0, 512, 1, &[1]);
    whole.streamed = false;
    let trace = trace(vec![request(0, 1_000, 3, &[1]), whole]);
    let mut chooser = Audit::new(RoundRobin::new(1));
    let mut records = simulate(&trace, &fleet, &mut chooser, |_| ()).unwrap();
    chooser.check(2, 2);
    assert_eq!(chooser.first_bytes, 1);
    records.sort_by_key(|record| record.request);
    // Both prompts in one iteration without a decode part: the second finds nothing, as its only block is its last.
    let first = prefill(1_512.0);
    assert_eq!((records[0].first, records[1].first), (first, first));
    assert_eq!(records[1].end, first);
    assert_eq!(records[0].end, first + 3_000 + 2 * decode(2.0 / 2_048.0));
    assert_eq!(records[0].decode_worker, Some(0));
}

/// Many requests with shared prefixes, closed and open loops mixed, some too long.
fn crowd(seed: u64) -> Trace {
    let mut chance = fastrand::Rng::with_seed(seed);
    let mut requests: Vec<Request> = Vec::new();
    for position in 0..600 {
        let input_tokens = chance.usize(1..6_000);
        let family = chance.u64(..12) * 1_000;
        let own = position as u64 * 100_000;
        let shared = chance.usize(..8);
        let blocks: Vec<u64> = (0..input_tokens / BLOCK)
            .map(|block| block as u64 + if block < shared { family } else { own })
            .collect();
        let mut request = request(chance.u64(..20_000_000), input_tokens, 1, &blocks);
        request.output_tokens = chance.usize(1..700);
        request.streamed = chance.bool();
        if position > 0 && chance.bool() {
            let earlier = chance.usize(..position);
            let taken = |other: &Request| matches!(other.arrival, Arrival::After { request, .. } if request == earlier);
            if !requests.iter().any(taken) {
                request.arrival = Arrival::After {
                    request: earlier,
                    delay: chance.u64(..500_000),
                };
            }
        }
        requests.push(request);
    }
    trace(requests)
}

#[test]
fn every_request_ends_once_and_the_same_each_time() {
    for seed in 0..6 {
        let trace = crowd(seed);
        for model in [batching(), SERIAL] {
            // Small enough for refusals and for requests that are put back.
            let engines = |count: usize| vec![Engine::new(model, 14 + count); count];
            let fleets = [
                Fleet::Mixed(engines(3)),
                Fleet::Disaggregated {
                    prefill: engines(3),
                    decode: engines(3),
                    handover: 100,
                },
            ];
            for fleet in fleets {
                let run = || {
                    let mut chooser = Audit::new(Random::new(3, seed));
                    let mut told = 0;
                    let records = simulate(&trace, &fleet, &mut chooser, |_| told += 1).unwrap();
                    assert_eq!(told, records.len());
                    assert!(chooser.open.is_empty());
                    records
                };
                let records = run();
                assert_eq!(records, run());
                let mut seen = vec![false; trace.requests.len()];
                for record in &records {
                    assert!(!std::mem::replace(&mut seen[record.request], true));
                    assert!(record.arrival <= record.first && record.first <= record.end);
                    assert!(record.cached_tokens < record.input_tokens);
                }
                assert!(seen.iter().all(|&seen| seen));
            }
        }
    }
}

/// Names a worker that is not there.
struct Wrong;

impl Chooser for Wrong {
    fn choose(&mut self, _: Role, _: &Ask<'_>, _: Ticket, _: u64) -> Pick {
        Pick::blind(2)
    }

    fn first_byte(&mut self, _: Ticket, _: u64) {}

    fn end(&mut self, _: Ticket, _: &Ended, _: u64) {}
}

#[test]
fn a_worker_that_is_not_there_is_an_error() {
    let trace = trace(vec![request(0, 1, 1, &[])]);
    let fleet = Fleet::mixed(2, &Engine::new(SERIAL, 1));
    let error = simulate(&trace, &fleet, &mut Wrong, |_| ()).unwrap_err();
    assert_eq!(error.to_string(), "worker 2 was chosen, of 2");
}
