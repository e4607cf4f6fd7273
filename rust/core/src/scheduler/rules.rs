//! The policies in use, one instance each, so that roles with the same policy share its cursor.

use super::SchedulerConfig;
use crate::policy::{Choice, Policy, Rule, Scene};

#[derive(Debug)]
pub(super) struct Rules(Vec<(Policy, Box<dyn Rule>)>);

impl Rules {
    pub(super) fn new(config: &SchedulerConfig) -> Self {
        let mut rules: Vec<(Policy, Box<dyn Rule>)> = Vec::new();
        for &(_, policy) in &config.policies {
            if rules.iter().all(|(known, _)| *known != policy) {
                rules.push((policy, policy.build(&config.settings, config.seed)));
            }
        }
        Self(rules)
    }

    /// `policy` must be one of those wanted.
    pub(super) fn choose(&mut self, policy: Policy, scene: &Scene<'_>) -> Choice {
        let rule = self.0.iter_mut().find(|(known, _)| *known == policy);
        rule.map_or(Choice::blind(policy, 0), |(_, rule)| rule.choose(scene))
    }
}
