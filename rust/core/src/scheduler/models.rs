//! Which worker serves which model, and who is a candidate for one.
//!
//! Each role has the list of all its workers and, for each model that somebody lists, that of those who serve it. A
//! list is made when it is first asked for after a change, so a decision looks it up and goes through nobody. Where a
//! list leaves nobody out it is the list of all: a fleet of one model has one.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use crate::hash;
use crate::policy::Candidate;

/// The name by which requests ask for whatever an engine serves, unless somebody lists it: `FastDeploy`'s engines take
/// it for their own model (`OpenAIServingModels.is_supported_model`).
pub const ANY_MODEL: &str = "default";

/// A list that leaves nobody out, as policies know it.
const ALL: u64 = 0;
/// The same of the list for models that nobody lists.
const UNLISTED: u64 = 1;

/// What a worker takes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Serves {
    /// Nobody has said yet: models that no other worker lists, as long as there is one that does.
    #[default]
    Untold,
    /// It cannot be known: every model.
    Anything,
    /// Nothing, until it is told again.
    Nothing,
    /// Models by their keys, in order; with `others` those that no worker lists as well.
    Listed { models: Box<[u64]>, others: bool },
}

impl Serves {
    /// `models` by name: None is everything, an empty list nothing.
    pub(super) fn new<T: AsRef<str>>(models: Option<&[T]>, others: bool) -> Self {
        match models {
            None => Self::Anything,
            Some([]) => Self::Nothing,
            Some(names) => {
                let mut models: Vec<u64> = names.iter().map(|name| key(name.as_ref())).collect();
                models.sort_unstable();
                models.dedup();
                Self::Listed {
                    models: models.into(),
                    others,
                }
            }
        }
    }

    fn listed(&self) -> &[u64] {
        match self {
            Self::Listed { models, .. } => models,
            Self::Untold | Self::Anything | Self::Nothing => &[],
        }
    }

    /// Whether the worker is a candidate.
    pub(super) fn takes(&self, wanted: Wanted) -> bool {
        match (self, wanted) {
            (Self::Nothing, _) | (Self::Untold, Wanted::Listed(_)) => false,
            (_, Wanted::Any) | (Self::Untold | Self::Anything, _) => true,
            (Self::Listed { models, .. }, Wanted::Listed(key)) => {
                models.binary_search(&key).is_ok()
            }
            (Self::Listed { others, .. }, Wanted::Unlisted) => *others,
        }
    }
}

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Whatever is served.
    Any,
    /// A model that somebody lists, by its key.
    Listed(u64),
    /// A model that nobody lists.
    Unlisted,
}

/// A model's name as a number.
pub(super) fn key(name: &str) -> u64 {
    hash::of_name(name, 1)
}

/// Candidates by standing, each list ascending by url; replaced as a whole so that a decision can keep what it saw.
#[derive(Debug, Clone, Default)]
pub(super) struct Tiers {
    pub(super) open: Arc<[Candidate]>,
    pub(super) passed_over: Arc<[Candidate]>,
    pub(super) ejected: Arc<[Candidate]>,
    /// Names the list for policies that keep something of each: the same number, the same kind of request.
    pub(super) group: u64,
}

impl Tiers {
    /// Workers, whatever their standing.
    pub(super) fn len(&self) -> usize {
        self.open.len() + self.passed_over.len() + self.ejected.len()
    }
}

/// The candidates of a role.
#[derive(Debug, Default)]
pub(super) struct Lists {
    all: Tiers,
    models: HashMap<u64, Model>,
    unlisted: OnceLock<Tiers>,
}

/// One model that somebody lists.
#[derive(Debug, Default)]
struct Model {
    /// How many list it.
    workers: usize,
    tiers: OnceLock<Tiers>,
}

impl Lists {
    /// The list for a model; `make` makes one of those who take what is wanted.
    pub(super) fn of(&self, model: Option<&str>, make: impl FnOnce(Wanted) -> Tiers) -> &Tiers {
        let Some(name) = model.filter(|_| !self.models.is_empty()) else {
            return &self.all;
        };
        let key = key(name);
        let (tiers, wanted, group) = match self.models.get(&key) {
            Some(model) => (&model.tiers, Wanted::Listed(key), key),
            None if name == ANY_MODEL => return &self.all,
            None => (&self.unlisted, Wanted::Unlisted, UNLISTED),
        };
        tiers.get_or_init(|| {
            let some = make(wanted);
            if some.len() == self.all.len() {
                self.all.clone()
            } else {
                Tiers { group, ..some }
            }
        })
    }

    /// A worker takes something else than before. `renew` is to follow.
    pub(super) fn change(&mut self, before: &Serves, after: &Serves) {
        for key in after.listed() {
            self.models.entry(*key).or_default().workers += 1;
        }
        for key in before.listed() {
            if let Some(model) = self.models.get_mut(key) {
                model.workers -= 1;
                if model.workers == 0 {
                    self.models.remove(key);
                }
            }
        }
    }

    /// Takes the list of all anew; the others follow when they are asked for.
    pub(super) fn renew(&mut self, all: Tiers) {
        self.all = Tiers { group: ALL, ..all };
        self.unlisted = OnceLock::new();
        for model in self.models.values_mut() {
            model.tiers = OnceLock::new();
        }
    }
}
