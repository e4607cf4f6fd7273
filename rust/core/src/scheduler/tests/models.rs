//! Who is chosen for which model.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn wants(model: &str) -> Body<String> {
    let body = format!("{{\"model\":{model:?},\"prompt\":{LONG:?}}}");
    Body::scan(body, Prompt::Plain).unwrap()
}

/// Urls of `count` decisions for a model, each given back at once.
fn served(scheduler: &Scheduler, model: &str, count: usize) -> String {
    let one = |_| url(&decide(scheduler, Role::Mixed, &wants(model), &[])).to_owned();
    (0..count).map(one).collect()
}

fn refused(scheduler: &Scheduler, model: &str) -> bool {
    let options = Options::default();
    let decision = scheduler.select(Role::Mixed, &wants(model), &options, 0);
    decision.unwrap().is_none()
}

/// Round robin over `a` and `b` with model A, `c` with B.
fn two_models() -> Scheduler {
    let scheduler = fleet(Policy::RoundRobin, 3);
    for (url, model) in [("a", "A"), ("b", "A"), ("c", "B")] {
        scheduler.tell_models(url, Some(&[model]), false);
    }
    scheduler
}

#[test]
fn a_request_goes_to_those_who_serve_its_model() {
    let scheduler = two_models();
    assert_eq!(served(&scheduler, "A", 4), "abab");
    assert_eq!(served(&scheduler, "B", 2), "cc");
    assert!(refused(&scheduler, "C"));
    assert_eq!(turns(&scheduler, Role::Mixed, 3), "abc", "none is named");
    assert_eq!(served(&scheduler, "default", 3), "abc", "whatever is there");
    let count = |model| scheduler.count(Role::Mixed, Some(model));
    assert_eq!((count("A"), count("B"), count("C")), (2, 1, 0));
    let left = |model, exclude: &[&str]| {
        let exclude: Vec<String> = exclude.iter().map(|&url| url.to_owned()).collect();
        scheduler.left(Role::Mixed, Some(model), &exclude)
    };
    assert_eq!(left("A", &["a"]), (1, 0));
    assert_eq!(left("B", &["c"]), (0, 0));
}

#[test]
fn turns_are_per_model() {
    let scheduler = two_models();
    let chosen: String = ["A", "B", "B", "A", "B", "A"]
        .map(|model| served(&scheduler, model, 1))
        .concat();
    assert_eq!(chosen, "accbca");
}

#[test]
fn a_request_that_is_sent_again_stays_with_its_model() {
    let scheduler = two_models();
    let again =
        |exclude: &[&str]| url(&decide(&scheduler, Role::Mixed, &wants("A"), exclude)).to_owned();
    assert_eq!(again(&["a"]), "b");
    assert_eq!(again(&["a", "b"]), "a", "and never c");
    scheduler.stand("a", Standing::PassedOver);
    scheduler.stand("b", Standing::Ejected);
    assert_eq!(again(&[]), "a");
    assert_eq!(again(&["a"]), "a");
    scheduler.remove("a");
    assert_eq!(again(&[]), "b", "an ejected one, sooner than a wrong one");
    scheduler.remove("b");
    assert!(refused(&scheduler, "A"));
}

#[test]
fn who_has_no_list_takes_anything_and_who_was_not_asked_yet_the_rest() {
    let scheduler = fleet(Policy::RoundRobin, 2);
    assert_eq!(served(&scheduler, "A", 2), "ab", "nobody said anything");
    scheduler.tell_models("a", Some(&["A"]), false);
    assert_eq!(
        served(&scheduler, "A", 2),
        "aa",
        "b may serve something else"
    );
    assert_eq!(served(&scheduler, "B", 1), "b");
    scheduler.tell_models::<&str>("b", None, false);
    assert_eq!(served(&scheduler, "A", 2), "ab", "all serve it: one turn");
    assert_eq!(served(&scheduler, "B", 2), "bb");
    scheduler.tell_models("a", Some(&["A"]), true);
    assert_eq!(
        served(&scheduler, "B", 2),
        "ab",
        "it minds no name that nobody has"
    );
    scheduler.tell_models("b", Some(&["B"]), false);
    assert_eq!(served(&scheduler, "B", 2), "bb", "now somebody has it");
}

#[test]
fn who_is_to_be_asked_again_takes_nothing() {
    let scheduler = two_models();
    scheduler.tell_models::<&str>("a", Some(&[]), false);
    assert_eq!(served(&scheduler, "A", 2), "bb");
    assert_eq!(
        turns(&scheduler, Role::Mixed, 2),
        "bc",
        "nor without a name"
    );
    scheduler.tell_models("a", Some(&["B", "B2"]), false);
    assert_eq!(served(&scheduler, "B2", 1), "a");
    scheduler.tell_models("nobody", Some(&["A"]), false);
    scheduler.remove("a");
    scheduler.add("a", Role::Mixed);
    assert!(
        !refused(&scheduler, "B2"),
        "nobody knows what it serves now"
    );
}

#[test]
fn both_workers_of_a_pair_serve_the_model() {
    let scheduler =
        scheduler(&[Role::Prefill, Role::Decode].map(|role| (role, Policy::RoundRobin)));
    for (url, role, model) in [
        ("pa", Role::Prefill, "A"),
        ("pb", Role::Prefill, "B"),
        ("da", Role::Decode, "A"),
        ("db", Role::Decode, "B"),
    ] {
        scheduler.add(url, role);
        scheduler.tell_models(url, Some(&[model]), false);
    }
    let pair = |model| {
        [Role::Prefill, Role::Decode]
            .map(|role| url(&decide(&scheduler, role, &wants(model), &[])).to_owned())
    };
    assert_eq!(pair("A"), ["pa", "da"]);
    assert_eq!(pair("B"), ["pb", "db"]);
    let options = Options {
        model: Some("B".to_owned()),
        ..Options::default()
    };
    let decode = scheduler.select(Role::Decode, &prompt("x"), &options, 0);
    assert_eq!(url(&decode.unwrap().unwrap()), "db", "as its prefill");
    scheduler.add("pb", Role::Decode);
    assert_eq!(scheduler.count(Role::Prefill, Some("B")), 0);
    assert_eq!(scheduler.count(Role::Decode, Some("B")), 2);
}

#[test]
fn equal_text_for_another_model_is_no_hit() {
    for policy in [Policy::CacheAware, Policy::LeastWork] {
        let scheduler = fleet(policy, 1);
        let hit = |model| decide(&scheduler, Role::Mixed, &wants(model), &[]).hit_ratio();
        assert_eq!(
            (hit("A"), hit("B"), hit("A")),
            (Some(0.0), Some(0.0), Some(1.0))
        );
    }
}

proptest! {
    /// Whatever happened before, who may be chosen is what a look through all of them says.
    #[test]
    fn lists_are_what_a_walk_finds(
        steps in prop::collection::vec((0_usize..6, 0_u8..5, 0_u8..8), 1..60)
    ) {
        let scheduler = fleet(Policy::RoundRobin, 0);
        let mut present: BTreeMap<usize, (Option<Vec<&str>>, bool, bool)> = BTreeMap::new();
        for (number, act, choice) in steps {
            let name = number.to_string();
            let others = choice & 4 != 0;
            match act {
                0 => {
                    scheduler.add(&name, Role::Mixed);
                    present.entry(number).or_insert((None, true, false));
                }
                1 => {
                    scheduler.remove(&name);
                    present.remove(&number);
                }
                2 => {
                    scheduler.tell_models::<&str>(&name, None, others);
                    present.entry(number).and_modify(|all| *all = (None, false, false));
                }
                _ => {
                    let models = [vec![], vec!["A"], vec!["A", "B"], vec!["B"]][usize::from(choice & 3)].clone();
                    scheduler.tell_models(&name, Some(&models), others);
                    let others = others && !models.is_empty();
                    present.entry(number).and_modify(|all| *all = (Some(models), false, others));
                }
            }
            for model in ["A", "B", "C"] {
                let listed = present.values().any(|(models, ..)| {
                    models.as_ref().is_some_and(|models| models.contains(&model))
                });
                let takes = |(models, untold, others): &(Option<Vec<&str>>, bool, bool)| match models {
                    None => !*untold || !listed,
                    Some(models) => models.contains(&model) || (*others && !listed),
                };
                let expected: BTreeSet<String> = present
                    .iter()
                    .filter(|(_, worker)| takes(worker))
                    .map(|(number, _)| number.to_string())
                    .collect();
                prop_assert_eq!(scheduler.count(Role::Mixed, Some(model)), expected.len());
                let found: BTreeSet<String> = (0..expected.len())
                    .map(|_| url(&decide(&scheduler, Role::Mixed, &wants(model), &[])).to_owned())
                    .collect();
                prop_assert_eq!(found, expected);
            }
        }
    }
}
