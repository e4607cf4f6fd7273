//! A recording plays again as it went: every policy, several threads, everything that changes a scheduler.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::hash::RandomState;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use fastrand::Rng;
use fd_router_core::hash::Chain;
use fd_router_core::ids::Role;
use fd_router_core::load::Held;
use fd_router_core::policy::{Policy, Settings};
use fd_router_core::scheduler::{
    Ask, Decision, FOR_ENDPOINTS, Heard, Scheduler, SchedulerConfig, Standing, Usage,
};
use fd_router_record::line::{What, row};
use fd_router_record::writer::MAX_WAITING;
use fd_router_record::{Asked, Entry, Files, Head, Ids, Outcome, Recording, Tape, Tuned, Writer};
use fd_router_simulate::{Replayed, Request, Trace, replay};

const WORKERS: u64 = 6;
const BLOCK: usize = 16;
/// Requests of one thread.
const REQUESTS: usize = 150;

/// A scheduler whose every change is on tape, as the router has it.
struct Taped {
    policy: Policy,
    scheduler: Scheduler,
    tape: Arc<Tape>,
    clock: AtomicU64,
}

struct Flight {
    decision: Decision,
    entry: Entry,
}

fn config(policy: Policy) -> SchedulerConfig {
    SchedulerConfig {
        policies: [Role::Mixed, Role::Prefill, Role::Decode]
            .map(|role| (role, policy))
            .to_vec(),
        block_size: BLOCK,
        cache_max_bytes: 64 << 20,
        idle_limit: 2_000,
        settings: Settings {
            balance_abs_threshold: 3.0,
            balance_rel_threshold: 0.3,
            hit_ratio_weight: 1.0,
            load_balance_weight: 1.0,
            waiting_weight: 1.5,
            metrics_max_age: 500,
            copy_cost: 0.6,
            base_running: 32.0,
        },
        seed: 7,
    }
}

fn url(number: u64) -> String {
    format!("http://127.0.0.1:{}", 8_000 + number)
}

/// The first blocks are one of a few, so that there is something to find.
fn prompt(rng: &mut Rng) -> String {
    let mut text = format!("system prompt {} ", rng.u8(..8)).repeat(rng.usize(..30));
    if rng.bool() {
        text += "漢字も少し ";
    }
    text + &"u".repeat(rng.usize(..100))
}

impl Taped {
    fn new(policy: Policy, path: &std::path::Path) -> Self {
        let config = config(policy);
        let ids = Ids::new(RandomState::new());
        let head = Head {
            replica: Some("r1".to_owned()),
            ..Head::new(&config, String::new())
        };
        let files = Files::create(path, head, 100_000, 1_000).unwrap();
        let writer = Writer::start(files, ids.clone(), MAX_WAITING).unwrap();
        Self {
            policy,
            scheduler: Scheduler::new(&config).named("r1"),
            tape: Arc::new(Tape::new(writer, ids)),
            clock: AtomicU64::new(0),
        }
    }

    fn now(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::Relaxed)
    }

    fn change(&self, rng: &mut Rng) {
        let worker = url(rng.u64(..WORKERS));
        let role = Role::ALL[rng.usize(..3)];
        let turn = self.tape.turn();
        let now = self.now();
        let scheduler = &self.scheduler;
        let what = match rng.u8(..26) {
            0..5 => {
                scheduler.add(&worker, role);
                let role = role.name().to_owned();
                What::Joined { worker, role }
            }
            5 => {
                scheduler.remove(&worker);
                What::Left { worker }
            }
            6..8 => {
                let (name, standing) = [
                    ("open", Standing::Open),
                    ("passed_over", Standing::PassedOver),
                    ("ejected", Standing::Ejected),
                ][rng.usize(..3)];
                scheduler.stand(&worker, standing);
                let standing = name.to_owned();
                What::Stands { worker, standing }
            }
            8 => {
                scheduler.forget_prefixes(&worker, now);
                What::Forgotten { worker }
            }
            9..11 => {
                let (running, waiting) = (f64::from(rng.u8(..9)), rng.f64());
                scheduler.observe(&worker, running, waiting, now);
                What::Observed {
                    worker,
                    running,
                    waiting,
                }
            }
            11 => {
                let tokens = rng.f64() * 5_000.0;
                scheduler.tell_capacity(&worker, tokens);
                What::Capacity { worker, tokens }
            }
            12 => {
                let mut config = config(self.policy);
                config.seed = rng.u64(..);
                config.settings.hit_ratio_weight = rng.f64();
                config.settings.base_running = 20.0 * rng.f64();
                scheduler.retune(&config);
                What::Tuned(Box::new(Tuned::new(&config)))
            }
            13 => {
                scheduler.reap();
                What::Reaped
            }
            14..17 => {
                let models = [None, Some(vec![]), Some(vec!["m"]), Some(vec!["m", "n"])];
                let models = models[rng.usize(..4)].as_deref();
                let others = rng.bool();
                scheduler.tell_models(&worker, models, others);
                let ids = |models: &[&str]| {
                    models
                        .iter()
                        .map(|name| self.tape.ids().model(name))
                        .collect()
                };
                What::Serves {
                    worker,
                    models: models.map(ids),
                    others,
                }
            }
            17..19 => self.hear_loads(rng),
            19..23 => self.hear_prompt(&worker, now, rng),
            23..25 => {
                let endpoints = [&["/a"][..], &["/b", "/a"], &[]][rng.usize(..3)];
                let endpoints: Vec<_> = endpoints.iter().map(|&path| path.to_owned()).collect();
                scheduler.tell_endpoints(&worker, endpoints.clone());
                What::Endpoints { worker, endpoints }
            }
            _ => {
                scheduler.expire(now);
                What::Expired
            }
        };
        turn.change(now, what);
    }

    fn hear_loads(&self, rng: &mut Rng) -> What {
        let count = rng.usize(..4);
        let held = |rng: &mut Rng| Held {
            running: rng.u64(..9),
            weight: rng.u64(..3_000),
            pending: 3_000.0 * rng.f64(),
            resident: 9_000.0 * rng.f64(),
        };
        let rows: Vec<_> = (0..count)
            .map(|_| (url(rng.u64(..WORKERS)), held(rng)))
            .collect();
        let origin = rng.u8(..3).to_string();
        self.scheduler.tell_foreign(&origin, &rows);
        let rows = rows.iter().map(row).collect();
        What::Foreign { origin, rows }
    }

    fn hear_prompt(&self, worker: &str, now: u64, rng: &mut Rng) -> What {
        let text = prompt(rng);
        let hashes = Chain::new(Some("m"), BLOCK).end_with_text(text.as_bytes());
        let hashes = hashes.hashes();
        let heard = if rng.u8(..4) > 0 {
            Heard::Recorded {
                worker,
                hashes,
                tokens: text.len() as f64 / 4.0,
                uncached: rng.f64() * 100.0,
            }
        } else {
            Heard::TakenBack {
                worker,
                hashes,
                stay: rng.u32(..9),
                uncached: rng.f64() * 100.0,
            }
        };
        self.scheduler.hear(&heard, now);
        What::heard(&heard, self.tape.ids())
    }

    fn decide(&self, rng: &mut Rng) -> Option<Flight> {
        let role = Role::ALL[rng.usize(..3)];
        let exclude = if rng.u8(..5) == 0 {
            vec![url(rng.u64(..WORKERS))]
        } else {
            Vec::new()
        };
        let text = prompt(rng);
        let prefix = Chain::new(Some("m"), BLOCK).end_with_text(text.as_bytes());
        let policy = self.scheduler.policy(role);
        let reads = policy.is_some_and(Policy::reads_prefixes);
        let session = rng.u8(..9).to_string();
        let tokens = text.len() as u64;
        let prefix = (!text.is_empty()).then_some(prefix);
        let ask = Ask {
            tokens,
            weight: tokens + u64::from(rng.u8(..9)),
            prefix: prefix
                .clone()
                .filter(|_| reads)
                .map(|prefix| self.tape.ids().draw(prefix)),
            exact: rng.bool(),
            model: [None, Some("m"), Some("n"), Some("default")][rng.usize(..4)],
            session: Some(&session),
            stream: rng.bool(),
            exclude: &exclude,
        };
        let endpoint = [None, None, None, Some("/a"), Some("/b")][rng.usize(..5)];
        let (ids, request) = (self.tape.ids(), self.tape.request());
        let mut asked = match endpoint {
            None => Asked::new(ids, request, role, policy, &ask, prefix),
            Some(_) => Asked::new(ids, request, Role::Mixed, Some(FOR_ENDPOINTS), &ask, prefix),
        };
        if let Some(endpoint) = endpoint {
            asked = asked.for_endpoint(endpoint);
        }
        let mut turn = self.tape.turn();
        let now = self.now();
        let decision = match endpoint {
            None => self.scheduler.decide(role, ask, now).unwrap(),
            Some(endpoint) => self.scheduler.decide_for(endpoint, &ask, false, now),
        };
        let (decision, entry) = Entry::new(&self.tape, &mut turn, asked, decision, now)?;
        let entry = entry?;
        Some(Flight { decision, entry })
    }

    fn first_byte(&self, flight: &Flight) {
        let mut turn = self.tape.turn();
        let now = self.now();
        if flight.decision.lease.first_byte(now).is_some() {
            flight.entry.first_byte(&mut turn, now);
        }
    }

    fn learn(&self, flight: &Flight, rng: &mut Rng) {
        let usage = Usage {
            prompt: rng.u64(1..3_000),
            cached: rng.bool().then(|| rng.u64(..3_000)),
        };
        let turn = self.tape.turn();
        self.scheduler.learn(&flight.decision, usage);
        flight.entry.usage(turn, usage, self.now());
    }

    fn end(&self, flight: &Flight, rng: &mut Rng) {
        let outcomes = [
            Outcome::Completed,
            Outcome::Broken,
            Outcome::Unanswered,
            Outcome::Dropped,
        ];
        let outcome = outcomes[rng.usize(..4)];
        let mut turn = self.tape.turn();
        let now = self.now();
        flight.decision.lease.release();
        if outcome == Outcome::Unanswered {
            self.scheduler.take_back(&flight.decision);
        }
        flight.entry.end(&mut turn, now, outcome, None);
    }

    /// One thread's requests, a few at a time.
    fn work(&self, seed: u64) {
        let mut rng = Rng::with_seed(seed);
        let mut flights: Vec<Flight> = Vec::new();
        for _ in 0..REQUESTS {
            flights.extend(self.decide(&mut rng));
            if rng.u8(..4) == 0 {
                self.change(&mut rng);
            }
            if let Some(flight) = rng.choice(&flights) {
                self.first_byte(flight);
            }
            if flights.len() > 5 {
                let flight = flights.swap_remove(rng.usize(..flights.len()));
                if rng.bool() {
                    self.learn(&flight, &mut rng);
                    self.end(&flight, &mut rng);
                } else {
                    self.end(&flight, &mut rng);
                    self.learn(&flight, &mut rng);
                }
            }
        }
        for flight in flights {
            self.end(&flight, &mut rng);
        }
    }
}

/// What four threads did under a policy, read back.
fn record(policy: Policy) -> Recording {
    // Tests of one process record at a time, and some of them the same policy.
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let name = format!("fd-router-recorded-{}-{number}", std::process::id());
    let folder: PathBuf = std::env::temp_dir().join(name);
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("decisions.jsonl");
    let taped = Taped::new(policy, &path);
    let mut rng = Rng::with_seed(1);
    for _ in 0..20 {
        taped.change(&mut rng);
    }
    thread::scope(|scope| {
        for seed in 0..4 {
            let taped = &taped;
            scope.spawn(move || taped.work(seed));
        }
    });
    taped.tape.writer().close();
    let recording = Recording::read(&path).unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    recording
}

fn play(recording: &Recording, config: &SchedulerConfig) -> Replayed {
    let replayed = replay(recording, config).unwrap();
    assert_eq!(
        (replayed.missing, replayed.decisions),
        (0, 4 * REQUESTS as u64)
    );
    replayed
}

#[test]
fn every_policy_makes_the_same_choices() {
    for &policy in Policy::ALL {
        let recording = record(policy);
        let replayed = play(&recording, &recording.head.config().unwrap());
        assert_eq!(replayed.differences, [], "{}", policy.name());
        assert_eq!(replayed.same_predictions, replayed.decisions);
        let special = recording.requests.iter();
        let special = special.filter(|row| row.endpoint.is_some() && row.worker.is_some());
        assert!(special.count() > 10, "nobody served an endpoint by name");
        // Chance may keep one of them out all the time, as threads take turns as they like.
        assert!(
            replayed.workers.len() as u64 > WORKERS / 2,
            "{:?}",
            replayed.workers
        );
    }
}

#[test]
fn a_recording_is_a_trace() {
    let recording = record(Policy::RoundRobin);
    let trace = Trace::from_recording(&recording, 7);
    let asked = recording.requests.iter();
    let asked = asked.filter(|row| row.role != "decode" && row.worker.is_some());
    let asked = asked.filter(|row| row.endpoint.is_none());
    assert_eq!(trace.requests.len(), asked.count());
    assert!(trace.block_size >= 1);
    let fits = |request: &Request| request.blocks.len() * trace.block_size <= request.input_tokens;
    assert!(trace.requests.iter().all(fits));
    assert!(
        trace
            .requests
            .iter()
            .any(|request| request.blocks.len() > 5)
    );
    assert!(
        trace
            .requests
            .iter()
            .all(|request| request.output_tokens == 7)
    );
    let sessions = trace.requests.iter().filter_map(|request| request.session);
    assert_eq!(sessions.max(), Some(8));
}

#[test]
fn other_settings_make_other_choices() {
    let recording = record(Policy::LeastWork);
    let mut config = recording.head.config().unwrap();
    config.settings.base_running = 0.0;
    let other = play(&recording, &config);
    assert!(other.same < other.decisions);
    assert!(!other.differences.is_empty() && other.differences.len() <= 20);
    let differs = other.decisions - other.same;
    let moved: u64 = other
        .workers
        .values()
        .map(|(then, now)| then.abs_diff(*now))
        .sum();
    assert!(moved <= 2 * differs);
    config.policies.retain(|&(role, _)| role != Role::Decode);
    let error = replay(&recording, &config).unwrap_err().to_string();
    assert!(error.contains("role decode is not served"), "{error}");
}

#[test]
fn the_order_of_events_is_what_makes_it_exact() {
    let mut recording = record(Policy::LeastWork);
    let decided = |kind: &fd_router_record::reader::Kind| {
        matches!(kind, fd_router_record::reader::Kind::Decided(_))
    };
    // All decisions first: the same inputs, in another order.
    recording.events.sort_by_key(|event| !decided(&event.kind));
    let replayed = replay(&recording, &recording.head.config().unwrap()).unwrap();
    assert!(replayed.same < replayed.decisions);
}
