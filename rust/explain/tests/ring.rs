//! What is kept, for how long, and what is told of it.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::sync::Arc;
use std::thread;

use fd_router_core::ids::Role;
use fd_router_core::policy::{Policy, Terms, View};
use fd_router_core::scheduler::Usage;
use fd_router_explain::{Chosen, Kept, Ring, Trail};
use fd_router_record::Outcome;
use serde_json::{Value, json};

const PLENTY: usize = 1 << 20;

fn chosen(role: Role, url: &str) -> Chosen {
    let terms = Terms {
        url: url.into(),
        cost: Some(1.23456),
        running: 3,
        pending: 99.6,
        held: Some(25.0),
    };
    Chosen {
        role,
        policy: Policy::LeastWork,
        decided_by: Policy::LeastWork,
        fallback: None,
        view: Some(View {
            candidates: 1,
            best: vec![terms.clone()],
            best_hit: Some(terms),
            ties: 0,
            margin: None,
            blocks: Some(10),
            tokens: 100.0,
        }),
        at: 1_700_000_000_123,
        now: 1_000,
    }
}

fn tell(ring: &Arc<Ring>, id: &str) -> Kept {
    Trail::new(id, "/v1/x", true).tell(ring, chosen(Role::Mixed, "http://a"), &[])
}

fn read(page: &[u8]) -> Value {
    serde_json::from_slice(page).unwrap()
}

fn ids(page: &Value) -> Vec<&str> {
    let decisions = page["decisions"].as_array().unwrap();
    let ids = decisions.iter().map(|each| each["request_id"].as_str());
    ids.map(Option::unwrap).collect()
}

#[test]
fn a_decision_is_told_to_its_end() {
    let ring = Arc::new(Ring::new(PLENTY));
    let told = tell(&ring, "r");
    let page = read(&ring.about("r").unwrap());
    let decision = &page["decisions"][0];
    assert_eq!(decision["outcome"], "running");
    assert_eq!(decision["at"], 1_700_000_000.123);
    let candidate = json!({
        "url": "http://a", "cost": 1.2346, "running": 3, "pending": 100, "uncached": 75, "hit": 0.25,
    });
    assert_eq!(decision["best"], json!([candidate]));
    assert_eq!(decision["best_hit"], candidate);
    told.headed(200, false, 1_040);
    told.first_byte(1_250);
    told.usage(Usage {
        prompt: 200,
        cached: Some(50),
    });
    told.end(Outcome::Completed, 3_000);
    told.end(Outcome::Dropped, 9_000);
    let page = read(&ring.last(1));
    let decision = &page["decisions"][0];
    let wanted = json!({
        "status": 200, "first_byte_secs": 0.25, "duration_secs": 2.0, "outcome": "completed",
        "predicted_hit": 0.25, "true_hit": 0.25, "fault": "none",
    });
    for (key, value) in wanted.as_object().unwrap() {
        assert_eq!(decision[key], *value, "{key}");
    }
}

#[test]
fn an_answer_in_one_piece_has_its_first_byte_with_its_head() {
    let ring = Arc::new(Ring::new(PLENTY));
    tell(&ring, "r").headed(200, true, 1_040);
    assert_eq!(read(&ring.last(1))["decisions"][0]["first_byte_secs"], 0.04);
}

#[test]
fn attempts_are_numbered_and_tell_why_they_were_lost() {
    let ring = Arc::new(Ring::new(PLENTY));
    let trail = Trail::new("r", "/v1/x", false);
    for role in [Role::Prefill, Role::Decode] {
        trail.tell(&ring, chosen(role, "http://a"), &[]);
    }
    trail.lost("decode worker http://a: refused", true);
    trail.tell(
        &ring,
        chosen(Role::Prefill, "http://b"),
        &["http://a".to_owned()],
    );
    trail.lost("prefill worker http://b: refused", false);
    let page = read(&ring.about("r").unwrap());
    let told = |key: &str| -> Vec<Value> {
        let decisions = page["decisions"].as_array().unwrap();
        decisions.iter().map(|each| each[key].clone()).collect()
    };
    assert_eq!(told("attempt"), [1, 1, 2]);
    assert_eq!(told("role"), ["prefill", "decode", "prefill"]);
    let lost = json!("decode worker http://a: refused");
    assert_eq!(told("lost"), [lost.clone(), lost.clone(), Value::Null]);
    assert_eq!(
        told("error"),
        [
            lost.clone(),
            lost,
            json!("prefill worker http://b: refused")
        ]
    );
    assert_eq!(
        told("excluded"),
        [json!([]), json!([]), json!(["http://a"])]
    );
}

#[test]
fn the_oldest_go_and_memory_is_bounded() {
    let ring = Arc::new(Ring::new(64 << 10));
    for number in 0..10_000 {
        tell(&ring, &number.to_string());
        assert!(ring.size().1 <= 64 << 10);
    }
    let kept = ring.size().0;
    assert!((30..100).contains(&kept), "{kept}");
    let page = read(&ring.last(1_000));
    let wanted: Vec<String> = (10_000 - kept..10_000)
        .rev()
        .map(|each| each.to_string())
        .collect();
    assert_eq!(ids(&page), wanted);
    assert!(ring.about(&wanted[kept - 1]).is_some());
    assert!(ring.about(&(10_000 - kept - 1).to_string()).is_none());
}

#[test]
fn a_request_is_found_among_others_and_what_is_gone_of_it_is_not() {
    let ring = Arc::new(Ring::new(64 << 10));
    for _ in 0..2_000 {
        tell(&ring, "again");
        tell(&ring, "other");
    }
    let kept = ring.size().0;
    let page = read(&ring.about("again").unwrap());
    assert!(ids(&page).iter().all(|id| *id == "again"));
    assert!(ids(&page).len().abs_diff(kept / 2) <= 1);
    assert!(ring.about("nobody").is_none());
}

#[test]
fn what_is_gone_may_still_end() {
    let ring = Arc::new(Ring::new(4 << 10));
    let first = tell(&ring, "first");
    for number in 0..100 {
        tell(&ring, &number.to_string());
    }
    assert!(ring.about("first").is_none());
    first.end(Outcome::Completed, 2_000);
}

#[test]
fn a_long_id_is_cut_and_found() {
    let ring = Arc::new(Ring::new(PLENTY));
    let (long, other) = ("é".repeat(1_000_000), "é".repeat(1_000_001));
    tell(&ring, &long);
    tell(&ring, &other);
    assert!(ring.size().1 < 8 << 10);
    let page = read(&ring.about(&long).unwrap());
    assert_eq!(ids(&page), ["é".repeat(128)]);
}

#[test]
fn an_answer_is_bounded_in_bytes_and_keeps_the_newest() {
    let ring = Arc::new(Ring::new(32 << 20));
    let url = format!("http://{}", "a".repeat(8_000));
    for number in 0..600 {
        let id = number.to_string();
        for name in [id.as_str(), "same"] {
            Trail::new(name, "/", false).tell(&ring, chosen(Role::Mixed, &url), &[]);
        }
    }
    let last = ring.last(1_000);
    assert!((3 << 20..5 << 20).contains(&last.len()), "{}", last.len());
    assert_eq!(ids(&read(&last))[..2], ["same", "599"]);
    let about = ring.about("same").unwrap();
    assert!((3 << 20..5 << 20).contains(&about.len()), "{}", about.len());
}

#[test]
fn there_may_be_nobody_and_nothing() {
    let ring = Arc::new(Ring::new(PLENTY));
    assert_eq!(read(&ring.last(20)), json!({"decisions": []}));
    let nobody = Chosen {
        view: None,
        ..chosen(Role::Mixed, "")
    };
    Trail::new("\"quoted\"", "/", false).tell(&ring, nobody, &[]);
    let page = read(&ring.about("\"quoted\"").unwrap());
    assert_eq!(page["request_id"], "\"quoted\"");
    let decision = &page["decisions"][0];
    assert_eq!(decision["outcome"], "no_worker");
    assert_eq!(decision["worker"], Value::Null);
}

#[test]
fn many_threads_may_tell_and_ask() {
    let ring = Arc::new(Ring::new(64 << 10));
    thread::scope(|scope| {
        for name in ["a", "b", "c"] {
            let ring = &ring;
            scope.spawn(move || {
                for number in 0..500_u64 {
                    tell(ring, name).end(Outcome::Completed, 1_000 + number);
                    ring.about(name);
                    ring.last(3);
                }
            });
        }
    });
    let (kept, bytes) = ring.size();
    assert!(kept > 0 && bytes <= 64 << 10);
}
