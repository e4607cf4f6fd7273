//! Each policy's duties, through the scheduler.

use super::*;

#[test]
fn round_robin_goes_in_order() {
    assert_eq!(
        turns(&fleet(Policy::RoundRobin, 3), Role::Mixed, 6),
        "abcabc"
    );
}

#[test]
fn round_robin_has_a_cursor_for_prefill_and_one_for_the_rest() {
    let scheduler = scheduler(
        &[Role::Prefill, Role::Decode, Role::Mixed].map(|role| (role, Policy::RoundRobin)),
    );
    for (role, urls) in [
        (Role::Prefill, ["p", "q"]),
        (Role::Decode, ["d", "e"]),
        (Role::Mixed, ["m", "n"]),
    ] {
        for url in urls {
            scheduler.add(url, role);
        }
    }
    assert_eq!(turns(&scheduler, Role::Prefill, 1), "p");
    assert_eq!(turns(&scheduler, Role::Decode, 1), "d");
    assert_eq!(turns(&scheduler, Role::Mixed, 1), "n");
    assert_eq!(turns(&scheduler, Role::Prefill, 1), "q");
}

#[test]
fn round_robin_does_not_move_for_a_request_that_is_sent_again() {
    let scheduler = fleet(Policy::RoundRobin, 2);
    let mut first = String::new();
    for _ in 0..4 {
        let chosen = select(&scheduler, "");
        first += url(&chosen);
        if url(&chosen) == "a" {
            decide(&scheduler, Role::Mixed, &prompt(""), &["a"]);
        }
    }
    assert_eq!(first, "abab", "a worker that fails has every other request");
}

#[test]
fn candidates_are_in_string_order() {
    let scheduler = scheduler(&[(Role::Mixed, Policy::RequestNum)]);
    scheduler.add("http://10.0.0.2:80", Role::Mixed);
    scheduler.add("http://10.0.0.10:80", Role::Mixed);
    assert_eq!(url(&select(&scheduler, "")), "http://10.0.0.10:80");
}

#[test]
fn request_num_takes_the_least_busy_then_the_first() {
    for policy in [
        Policy::RequestNum,
        Policy::FdMetricsScore,
        Policy::FdRemoteMetricsScore,
    ] {
        let scheduler = fleet(policy, 2);
        let first = select(&scheduler, "");
        let second = select(&scheduler, "");
        assert_eq!((url(&first), url(&second)), ("a", "b"), "{policy:?}");
    }
}

#[test]
fn process_tokens_takes_the_fewest_tokens() {
    let scheduler = fleet(Policy::ProcessTokens, 2);
    let long = select(&scheduler, "hello");
    assert_eq!((url(&long), long.tokens), ("a", 10));
    let empty = select(&scheduler, "");
    assert_eq!((url(&empty), empty.tokens), ("b", 0));
    assert_eq!(url(&select(&scheduler, "x")), "b");
    long.lease.first_byte(0);
    assert_eq!(url(&select(&scheduler, "x")), "a");
}

#[test]
fn power_of_two_takes_the_idler_of_two() {
    let scheduler = fleet(Policy::PowerOfTwo, 2);
    let busy = select(&scheduler, "");
    for _ in 0..20 {
        assert_ne!(url(&select(&scheduler, "")), url(&busy));
    }
    assert_eq!(turns(&fleet(Policy::PowerOfTwo, 1), Role::Mixed, 3), "aaa");
}

#[test]
fn chance_is_even() {
    for policy in [Policy::Random, Policy::PowerOfTwo] {
        let turns = turns(&fleet(policy, 3), Role::Mixed, 3_000);
        for name in ["a", "b", "c"] {
            let share = turns.matches(name).count();
            assert!(
                (900..1_100).contains(&share),
                "{policy:?}: {name} had {share}"
            );
        }
    }
}

#[test]
fn remote_score_uses_fresh_counts_of_the_engines() {
    let scheduler = fleet(Policy::FdRemoteMetricsScore, 2);
    scheduler.observe("a", 5.0, 0.0, 0);
    scheduler.observe("b", 1.0, 1.0, 0);
    scheduler.observe("nobody", 0.0, 0.0, 0);
    assert_eq!(url(&select(&scheduler, "")), "a");
    scheduler.observe("b", 1.0, 1.0, 4_000);
    let late = scheduler.select(Role::Mixed, &prompt(""), &Options::default(), 4_000);
    let late = late.unwrap().unwrap();
    assert_eq!(url(&late), "a", "the router's own count of a is 0");
}

#[test]
fn what_was_sent_since_the_engines_were_asked_counts_too() {
    let scheduler = fleet(Policy::FdRemoteMetricsScore, 2);
    scheduler.observe("a", 3.0, 0.0, 0);
    scheduler.observe("b", 1.0, 0.0, 0);
    let turns: Vec<_> = (0..6).map(|_| select(&scheduler, "")).collect();
    let urls: String = turns.iter().map(url).collect();
    assert_eq!(urls, "bbabab");
    // Asked again, they tell of these too.
    scheduler.observe("a", 5.0, 0.0, 0);
    scheduler.observe("b", 9.0, 0.0, 0);
    drop(turns);
    assert_eq!(url(&select(&scheduler, "")), "a", "a has 3 and b has 5");
}

#[test]
fn cache_aware_goes_where_the_prefix_is() {
    let scheduler = fleet(Policy::CacheAware, 2);
    let first = select(&scheduler, LONG);
    assert_eq!(
        first.explanation.text().unwrap(),
        "cache-aware prefill: final strategy: cache_aware_scoring, selected=a, loads=map[a:0 b:0], hitRatios=map[]"
    );
    assert_eq!(first.hit_ratio(), Some(0.0));
    drop(first);
    let second = select(&scheduler, LONG);
    assert_eq!((url(&second), second.hit_ratio()), ("a", Some(1.0)));
    assert!(
        second
            .explanation
            .text()
            .unwrap()
            .ends_with("hitRatios=map[a:100]")
    );
    let half = select(&scheduler, "aaaabbbbccccddddeeeeXXXXYYYYZZZZVVVVWWWW");
    assert!(
        half.explanation
            .text()
            .unwrap()
            .ends_with("loads=map[a:1 b:0], hitRatios=map[a:50]")
    );
}

#[test]
fn cache_aware_credits_every_worker_with_its_own_match() {
    let scheduler = fleet(Policy::CacheAware, 2);
    let first = select(&scheduler, "aaaabbbbccccdddd");
    let other = decide(&scheduler, Role::Mixed, &prompt("aaaabbbbxxxx"), &["a"]);
    assert_eq!((url(&first), url(&other)), ("a", "b"));
    let third = select(&scheduler, "aaaabbbbyyyy");
    assert!(
        third
            .explanation
            .text()
            .unwrap()
            .ends_with("hitRatios=map[a:66 b:66]")
    );
}

#[test]
fn cache_aware_falls_back_when_imbalanced() {
    let scheduler = fleet(Policy::CacheAware, 2);
    let on_a = |_| decide(&scheduler, Role::Mixed, &prompt("x"), &["b"]);
    let one: Vec<Decision> = (0..1).map(on_a).collect();
    assert_eq!(
        select(&scheduler, LONG).policy,
        Policy::CacheAware,
        "a difference of 1 is not over the threshold"
    );
    let more: Vec<Decision> = (0..2).map(on_a).collect();
    let fallback = select(&scheduler, LONG);
    assert_eq!(
        (url(&fallback), fallback.policy),
        ("b", Policy::ProcessTokens)
    );
    assert_eq!(
        (fallback.reason(), fallback.hit_ratio()),
        (Some("load imbalanced"), None)
    );
    assert_eq!(
        fallback.explanation.text().unwrap(),
        "cache-aware prefill: final strategy: process_tokens, reason: load imbalanced, loads=map[a:3 b:0]"
    );
    drop((one, more));
}

#[test]
fn cache_aware_falls_back_without_text() {
    let scheduler = fleet(Policy::CacheAware, 2);
    assert_eq!(
        select(&scheduler, "").explanation.text().unwrap(),
        "cache-aware prefill: final strategy: process_tokens, reason: tokenize failed: empty prompt for tokenizer"
    );
    assert_eq!(
        select(&scheduler, "abc").policy,
        Policy::CacheAware,
        "shorter than a block is still scored"
    );
    assert_eq!(scheduler.tree().blocks, 0);
}

#[test]
fn an_exact_tie_goes_to_fewer_tokens() {
    let scheduler = fleet(Policy::CacheAware, 2);
    let first = select(&scheduler, "abc");
    let second = select(&scheduler, "abcdefg");
    assert_eq!((url(&first), url(&second)), ("a", "b"));
    assert_eq!(url(&select(&scheduler, "x")), "a");
}

#[test]
fn remote_cache_aware_weighs_the_engines_own_counts() {
    let scheduler = fleet(Policy::RemoteCacheAware, 2);
    scheduler.observe("a", 1.0, 0.0, 0);
    let decision = select(&scheduler, LONG);
    assert_eq!(url(&decision), "b");
    assert!(
        decision
            .explanation
            .text()
            .unwrap()
            .contains("loads=map[a:1 b:0]")
    );
}

#[test]
fn tokens_are_hashed_where_they_are_given() {
    let scheduler = fleet(Policy::CacheAware, 1);
    let options = Options {
        tokens: Some((0..10).collect()),
        exclude: Vec::new(),
        ..Options::default()
    };
    let chosen = scheduler.select(Role::Mixed, &prompt("x"), &options, 0);
    assert!(chosen.unwrap().is_some());
    assert_eq!(scheduler.tree().blocks, 2);
}

#[test]
fn sessions_count_scored_requests_only() {
    let scheduler = fleet(Policy::CacheAware, 2);
    let body = |text: &str| {
        Body::scan(
            format!("{{\"prompt\":{text:?},\"session_id\":\"s\"}}"),
            Prompt::Plain,
        )
        .unwrap()
    };
    for text in [LONG, LONG, ""] {
        drop(decide(&scheduler, Role::Mixed, &body(text), &[]));
    }
    assert_eq!(scheduler.sessions(), (1, 2));
}

/// Requests per worker, from the fewest to the most.
fn spread(decisions: &[Decision]) -> Vec<usize> {
    let mut counts = BTreeMap::new();
    for decision in decisions {
        *counts.entry(url(decision)).or_insert(0) += 1;
    }
    let mut counts: Vec<usize> = counts.into_values().collect();
    counts.sort_unstable();
    counts
}

/// Streams that have had their first chunk hold no tokens any more.
fn stream(scheduler: &Scheduler, body: &Body<String>) -> Decision {
    let decision = decide(scheduler, Role::Mixed, body, &[]);
    decision.lease.first_byte(0);
    decision
}

const LOOKING_AT_LOAD: [Policy; 6] = [
    Policy::ProcessTokens,
    Policy::RequestNum,
    Policy::FdMetricsScore,
    Policy::CacheAware,
    Policy::RemoteCacheAware,
    Policy::LeastWork,
];

#[test]
fn streams_spread_also_over_a_worker_that_comes_late() {
    for policy in LOOKING_AT_LOAD {
        let scheduler = fleet(policy, 1);
        let mut held: Vec<Decision> = (0..12)
            .map(|number| stream(&scheduler, &prompt(&format!("{number} {LONG}"))))
            .collect();
        scheduler.add("b", Role::Mixed);
        held.extend(
            (12..24).map(|number| stream(&scheduler, &prompt(&format!("{number} {LONG}")))),
        );
        let spread = spread(&held);
        assert!(2 * spread[0] >= spread[1], "{policy:?}: {spread:?}");
    }
}

#[test]
fn prompts_without_plain_text_spread_and_match() {
    let bodies: [fn(usize) -> (String, Prompt); 5] = [
        |number| {
            let ids: Vec<usize> = (0..40).map(|id| 1_000 * number + id).collect();
            (format!("{{\"prompt\":{ids:?}}}"), Prompt::Plain)
        },
        |number| {
            let ids: Vec<usize> = (0..40).map(|id| 1_000 * number + id).collect();
            (format!("{{\"prompt\":[{ids:?},{ids:?}]}}"), Prompt::Plain)
        },
        |number| {
            let ids: Vec<usize> = (0..40).map(|id| 1_000 * number + id).collect();
            (
                format!("{{\"messages\":[],\"prompt_token_ids\":{ids:?}}}"),
                Prompt::Messages,
            )
        },
        |number| {
            let url = format!(
                "{{\"type\":\"image_url\",\"image_url\":{{\"url\":\"http://i/{number}\"}}}}"
            );
            (
                format!("{{\"messages\":[{{\"content\":[{url}]}}]}}"),
                Prompt::Messages,
            )
        },
        |number| {
            let result = format!("{{\"type\":\"tool_result\",\"content\":\"{number} {LONG}\"}}");
            (
                format!("{{\"messages\":[{{\"content\":[{result}]}}]}}"),
                Prompt::Messages,
            )
        },
    ];
    for (kind, make) in bodies.iter().enumerate() {
        let body = |number| {
            let (json, prompt) = make(number);
            Body::scan(json, prompt).unwrap()
        };
        for policy in [Policy::ProcessTokens, Policy::CacheAware, Policy::LeastWork] {
            let scheduler = fleet(policy, 3);
            let held: Vec<Decision> = (0..12)
                .map(|number| decide(&scheduler, Role::Mixed, &body(number), &[]))
                .collect();
            assert_eq!(spread(&held), [4, 4, 4], "{policy:?}, kind {kind}");
            assert!(held.iter().all(|decision| decision.tokens == 0));
        }
        let scheduler = fleet(Policy::CacheAware, 2);
        let first = url(&select_body(&scheduler, &body(7))).to_owned();
        let again = select_body(&scheduler, &body(7));
        assert_eq!(
            (url(&again), again.hit_ratio()),
            (&*first, Some(1.0)),
            "kind {kind}"
        );
        assert!(
            select_body(&scheduler, &body(8)).hit_ratio() < Some(0.2),
            "kind {kind}"
        );
    }
}

fn select_body(scheduler: &Scheduler, body: &Body<String>) -> Decision {
    decide(scheduler, Role::Mixed, body, &[])
}

#[test]
fn other_tools_and_other_models_share_no_prefix() {
    let scheduler = fleet(Policy::CacheAware, 1);
    let ratio = |members: &str| {
        let json = format!("{{\"messages\":[{{\"content\":\"{LONG}\"}}]{members}}}");
        let body = Body::scan(json, Prompt::Messages).unwrap();
        select_body(&scheduler, &body).hit_ratio()
    };
    let tools = ",\"tools\":[{\"name\":\"get_weather\"}]";
    assert_eq!(ratio(""), Some(0.0));
    assert_eq!(ratio(""), Some(1.0));
    assert_eq!(ratio(tools), Some(0.0));
    assert_eq!(ratio(tools), Some(1.0));
    assert_eq!(ratio(",\"tools\":null"), Some(1.0));
    assert_eq!(ratio(",\"model\":\"m\""), Some(0.0));
    assert_eq!(ratio(",\"model\":\"m\""), Some(1.0));
}
