//! Recordings on disk: format, rotation, bounds, and what is said of files that cannot be read or written.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::hash::RandomState;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use fd_router_core::hash::{Chain, Prefix};
use fd_router_core::ids::Role;
use fd_router_core::policy::{Policy, Settings};
use fd_router_core::scheduler::{Ask, Scheduler, SchedulerConfig, Usage};
use fd_router_record::files::numbered;
use fd_router_record::line::What;
use fd_router_record::reader::Kind;
use fd_router_record::writer::MAX_WAITING;
use fd_router_record::{Asked, Entry, Files, Head, Ids, Line, Outcome, Recording, Tape, Writer};

const PROMPT: &str = "the quick brown fox jumps over the lazy dog, and 漢字 as well";
const URL: &str = "http://127.0.0.1:1";

/// A folder of its own for each test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("fd-router-record-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("decisions.jsonl")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn config() -> SchedulerConfig {
    SchedulerConfig {
        policies: vec![(Role::Mixed, Policy::LeastWork)],
        block_size: 8,
        cache_max_bytes: 1 << 20,
        idle_limit: 60_000,
        settings: Settings {
            balance_abs_threshold: 1.0,
            balance_rel_threshold: 0.1 + 0.2,
            hit_ratio_weight: 1.0,
            load_balance_weight: 1.0,
            waiting_weight: 1.0,
            metrics_max_age: 3_000,
            copy_cost: 0.6,
            base_running: 32.0,
        },
        seed: u64::MAX,
    }
}

fn tape(path: &Path, max_bytes: u64, keep: usize, max_waiting: usize) -> Arc<Tape> {
    let ids = Ids::new(RandomState::new());
    let files = Files::create(path, Head::new(&config(), "r".to_owned()), max_bytes, keep).unwrap();
    Arc::new(Tape::new(
        Writer::start(files, ids.clone(), max_waiting).unwrap(),
        ids,
    ))
}

/// One decision that goes well; returns its prompt.
fn decide(tape: &Arc<Tape>, scheduler: &Scheduler, text: &str, now: u64) -> Prefix {
    let prefix = Chain::new(None, 8).end_with_text(text.as_bytes());
    let ask = Ask {
        tokens: 15,
        weight: 15,
        prefix: Some(prefix.clone()),
        exact: false,
        model: Some("secret-model"),
        session: Some("secret-session"),
        stream: true,
        exclude: &[],
    };
    let policy = scheduler.policy(Role::Mixed);
    let asked = Asked::new(
        tape.ids(),
        tape.request(),
        Role::Mixed,
        policy,
        &ask,
        Some(prefix.clone()),
    );
    let mut turn = tape.turn();
    let decision = scheduler.decide(Role::Mixed, ask, now).unwrap();
    let found = Entry::new(tape, &mut turn, asked, decision, now);
    drop(turn);
    if let Some((_, Some(entry))) = found {
        entry.first_byte(&mut tape.turn(), now + 5);
        let usage = Usage {
            prompt: 20,
            cached: Some(8),
        };
        entry.usage(tape.turn(), usage, now + 9);
        entry.end(&mut tape.turn(), now + 9, Outcome::Completed, Some(3));
        // What comes later is a line of its own.
        entry.usage(tape.turn(), usage, now + 10);
        entry.end(&mut tape.turn(), now + 11, Outcome::Broken, None);
    }
    prefix
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

#[test]
fn what_is_written_is_read_back() {
    let folder = Folder::new();
    let tape = tape(&folder.file(), 1 << 20, 2, MAX_WAITING);
    let scheduler = Scheduler::new(&config());
    decide(&tape, &scheduler, PROMPT, 3);
    scheduler.add(URL, Role::Mixed);
    let joined = What::Joined {
        worker: URL.to_owned(),
        role: "mixed".to_owned(),
    };
    tape.turn().change(4, joined.clone());
    let prefix = decide(&tape, &scheduler, PROMPT, 5);
    tape.writer().close();
    assert_eq!((tape.writer().written(), tape.writer().dropped()), (4, 0));

    let written = text(&folder.file());
    for secret in ["fox", "漢", "secret"] {
        assert!(!written.contains(secret), "{written}");
    }
    let recording = Recording::read(&folder.file()).unwrap();
    let head = recording.head.config().unwrap();
    assert_eq!(head.seed, u64::MAX);
    assert_eq!(head.policies, config().policies);
    assert!((head.settings.balance_rel_threshold - (0.1 + 0.2)).abs() < f64::MIN_POSITIVE);
    assert_eq!(recording.missing, 0);
    let numbers: Vec<_> = recording.events.iter().map(|event| event.seq).collect();
    assert_eq!(numbers, [0, 1, 2, 3, 4, 5, 6]);
    assert_eq!(recording.events[1].kind, Kind::Changed(joined));
    assert_eq!(recording.events[5].kind, Kind::Ended(1, Outcome::Completed));
    let [nobody, chosen] = &recording.requests[..] else {
        panic!("{written}");
    };
    assert_eq!((&nobody.worker, nobody.outcome), (&None, Outcome::NoWorker));
    assert_eq!((nobody.request, chosen.request), (0, 1));
    assert_eq!(
        nobody.hash_ids, chosen.hash_ids,
        "equal prompts have equal ids"
    );
    assert_eq!(chosen.hash_ids.len(), prefix.len());
    assert!(chosen.hash_ids.iter().all(|id| *id < 1 << 53));
    assert!(
        !prefix
            .hashes()
            .iter()
            .any(|hash| written.contains(&hash.to_string()))
    );
    let quarters: u32 = chosen.block_quarters.iter().map(|run| run.0 * run.1).sum();
    let tokens = prefix.tokens_of(prefix.len());
    assert!((f64::from(quarters) / 4.0 - tokens).abs() < f64::EPSILON);
    assert_eq!(chosen.block_quarters[0], (6, 8), "equal blocks are one run");
    assert_eq!(
        (chosen.timestamp, chosen.first_byte, chosen.end),
        (5, Some(10), Some(14))
    );
    assert_eq!((chosen.input_length, chosen.cached_tokens), (20, Some(8)));
    assert_eq!(
        (nobody.output_length, chosen.output_length),
        (None, Some(3))
    );
    assert_eq!(chosen.worker.as_deref(), Some(URL));
    assert_eq!(nobody.session.as_ref().map(String::len), Some(16));
}

#[test]
fn files_are_bounded_and_the_oldest_goes() {
    let folder = Folder::new();
    let path = folder.file();
    let tape = tape(&path, 4_000, 3, MAX_WAITING);
    let scheduler = Scheduler::new(&config());
    scheduler.add(URL, Role::Mixed);
    for now in 0..200 {
        decide(&tape, &scheduler, PROMPT, now);
    }
    tape.writer().close();
    for place in 0..3 {
        let size = fs::metadata(numbered(&path, place)).unwrap().len();
        assert!(
            (1_000..=4_000).contains(&size),
            "file {place} has {size} bytes"
        );
    }
    assert!(!numbered(&path, 3).exists());
    let recording = Recording::read(&path).unwrap();
    let kept = recording.events.len() as u64;
    assert!(recording.head.part > 2);
    assert_eq!(recording.missing + kept, 200 * 5, "what is gone is counted");
}

#[test]
fn all_files_are_one_recording() {
    let folder = Folder::new();
    let tape = tape(&folder.file(), 4_000, 1_000, MAX_WAITING);
    let scheduler = Scheduler::new(&config());
    scheduler.add(URL, Role::Mixed);
    for now in 0..100 {
        decide(&tape, &scheduler, PROMPT, now);
    }
    tape.writer().close();
    let recording = Recording::read(&folder.file()).unwrap();
    assert!(recording.head.part > 2);
    assert_eq!((recording.missing, recording.requests.len()), (0, 100));
}

#[test]
fn a_run_does_not_go_on_with_another_s_file() {
    let folder = Folder::new();
    for run in 0..2 {
        let tape = tape(&folder.file(), 1 << 20, 2, MAX_WAITING);
        let scheduler = Scheduler::new(&config());
        decide(&tape, &scheduler, PROMPT, run);
        tape.writer().close();
    }
    let at = |path: &Path| Recording::read(path).unwrap().requests[0].timestamp;
    assert_eq!(
        (at(&folder.file()), at(&numbered(&folder.file(), 1))),
        (1, 0)
    );
}

#[test]
fn what_does_not_fit_into_the_queue_is_dropped_and_counted() {
    let folder = Folder::new();
    let tape = tape(&folder.file(), 1 << 20, 1, 4_096);
    let scheduler = Scheduler::new(&config());
    for now in 0..10_000 {
        decide(&tape, &scheduler, PROMPT, now);
    }
    tape.writer().close();
    let (written, dropped) = (tape.writer().written(), tape.writer().dropped());
    assert!(dropped > 0);
    assert_eq!(written + dropped, 10_000);
    decide(&tape, &scheduler, PROMPT, 0);
    assert_eq!(tape.writer().dropped(), dropped + 1, "later than the end");
    let recording = Recording::read(&folder.file()).unwrap();
    assert_eq!(recording.requests.len() as u64, written);
}

#[test]
fn a_disk_that_refuses_is_told_of() {
    let full = Path::new("/dev/full");
    if !full.exists() {
        return;
    }
    let refused = Files::create(full, Head::new(&config(), String::new()), 1 << 20, 1);
    assert!(refused.is_err());
}

#[test]
fn a_path_that_cannot_be_written_is_an_error() {
    let folder = Folder::new();
    let head = || Head::new(&config(), String::new());
    let nowhere = folder.0.join("none").join("file");
    assert!(Files::create(&nowhere, head(), 1, 1).is_err());
    assert!(Files::create(&folder.0, head(), 1, 1).is_err());
}

#[test]
fn what_cannot_be_read_is_named_with_its_line() {
    let folder = Folder::new();
    let path = folder.file();
    let problem = |text: &str| {
        fs::write(&path, text).unwrap();
        let error = Recording::read(&path).unwrap_err().to_string();
        let name = path.display().to_string();
        error.strip_prefix(&name).unwrap_or(&error).to_owned()
    };
    let head = String::from_utf8(Line::Start(Head::new(&config(), String::new())).bytes()).unwrap();
    assert!(problem("").starts_with(":1: a recording begins with"));
    assert!(problem("{\"event\":\"left\"}\n").starts_with(":1: "));
    assert!(problem(&head.replace("\"format\":1", "\"format\":9")).starts_with(":1: format 9"));
    assert!(problem(&(head.clone() + "{\"event\":")).starts_with(":2: EOF"));
    assert!(problem(&(head.clone() + &head)).starts_with(":2: a second"));
    assert!(
        problem(&(head.clone() + "{\"event\":\"moved\",\"seq\":1,\"timestamp\":1}"))
            .starts_with(":2: unknown variant")
    );
    assert!(
        Recording::read(&folder.0.join("none"))
            .unwrap_err()
            .to_string()
            .starts_with("cannot read ")
    );
}
