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
    long.lease.release_tokens();
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
    let late = scheduler
        .select(Role::Mixed, &prompt(""), &Options::default(), 4_000)
        .unwrap();
    assert_eq!(url(&late), "a", "the router's own count of a is 0");
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
    let other = scheduler
        .select(
            Role::Mixed,
            &prompt("aaaabbbbxxxx"),
            &Options {
                exclude: vec!["a".into()],
                tokens: None,
            },
            0,
        )
        .unwrap();
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
    let exclude = Options {
        exclude: vec!["b".into()],
        tokens: None,
    };
    let on_a = |_| {
        scheduler
            .select(Role::Mixed, &prompt("x"), &exclude, 0)
            .unwrap()
    };
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
    };
    drop(
        scheduler
            .select(Role::Mixed, &prompt("x"), &options, 0)
            .unwrap(),
    );
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
        drop(
            scheduler
                .select(Role::Mixed, &body(text), &Options::default(), 0)
                .unwrap(),
        );
    }
    assert_eq!(scheduler.sessions(), (1, 2));
}
