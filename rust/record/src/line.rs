//! The lines of a recording. `docs/recording.md` has the table of their fields.
//!
//! Times are whole milliseconds on the scheduler's clock, which starts at about 0. `seq` numbers everything that
//! changed the scheduler, from 0, without gaps.

use fd_router_core::ids::Role;
use fd_router_core::load::Held;
use fd_router_core::policy::{Policy, Settings};
use fd_router_core::scheduler::{Heard, SchedulerConfig};
use serde::{Deserialize, Serialize};

use crate::ids::Ids;

/// The version of the format, in the head of every file.
pub const FORMAT: u32 = 1;

/// One line.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Line {
    /// The first of every file.
    Start(Head),
    /// A decision, written when it is over.
    Request(Box<Request>),
    /// Anything else that changed the scheduler.
    #[serde(untagged)]
    Change(Change),
}

/// How the scheduler was set up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Head {
    /// See [`FORMAT`].
    pub format: u32,
    /// Names the run of the router: the files of one run have the same.
    pub run: String,
    /// Counts the files of a run from 0.
    pub part: u64,
    /// (role, policy).
    pub policies: Vec<(String, String)>,
    /// Code points or token ids in a block.
    pub block_size: usize,
    /// Bound on the prefix tree's memory.
    pub cache_max_bytes: usize,
    /// Milliseconds for which an unused prefix is remembered.
    pub idle_limit: u64,
    /// What tunes the policies.
    pub settings: Tuning,
    /// Seed of all chance.
    pub seed: u64,
    /// The router's name among those that send to the same workers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replica: Option<String>,
}

/// See [`Settings`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the fields of Settings")]
pub struct Tuning {
    pub balance_abs_threshold: f64,
    pub balance_rel_threshold: f64,
    pub hit_ratio_weight: f64,
    pub load_balance_weight: f64,
    pub waiting_weight: f64,
    pub metrics_max_age: u64,
    pub copy_cost: f64,
    pub base_running: f64,
}

/// A decision and what became of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// Number of the decision.
    pub seq: u64,
    /// When it was made.
    pub timestamp: u64,
    /// Tokens of the prompt: the engine's count where it gave one, else an estimate.
    pub input_length: u64,
    /// Tokens of the answer; null where the engine did not say.
    pub output_length: Option<u64>,
    /// Ids of the prompt's whole blocks, each of which stands for all text up to its end.
    pub hash_ids: Vec<u64>,
    /// Quarters of tokens in the blocks, by estimate: [how many blocks, quarters in each].
    pub block_quarters: Vec<(u32, u32)>,
    /// Quarters of tokens in the whole prompt, by estimate.
    pub prompt_quarters: u32,
    /// Whether these are token ids of an engine, and no estimate.
    pub exact: bool,
    /// Whether the prompt has anything in it.
    pub empty: bool,
    /// Tokens of the prompt as they are logged.
    pub tokens: u64,
    /// Tokens of the prompt as `process_tokens` counts them.
    pub weight: u64,
    /// Whether the answer is streamed.
    pub stream: bool,
    /// Names the request: decisions for its other leg or a retry have the same.
    pub request: u64,
    /// Names the session.
    pub session: Option<String>,
    /// Names the model.
    pub model: Option<String>,
    /// What was to be chosen.
    pub role: String,
    /// Where that was one of those that serve an endpoint by name, whatever their role: which.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Workers not to be chosen unless nothing else was left.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
    /// The policy that decided in the end.
    pub policy: String,
    /// Who was chosen; null where there was nobody.
    pub worker: Option<String>,
    /// Blocks that the worker was thought to have; null where the policy did not look.
    pub predicted_blocks: Option<u32>,
    /// When the first byte of a stream came.
    pub first_byte: Option<u64>,
    /// Its number.
    pub first_byte_seq: Option<u64>,
    /// Tokens of the prompt by the engine's count.
    pub prompt_tokens: Option<u64>,
    /// Of these, those that it had cached.
    pub cached_tokens: Option<u64>,
    /// Number of when that was heard.
    pub usage_seq: Option<u64>,
    /// When it was over.
    pub end: Option<u64>,
    /// Its number.
    pub end_seq: Option<u64>,
    /// How it went.
    pub outcome: Outcome,
}

/// How a decision went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The answer came in full.
    Completed,
    /// An answer began, and broke off or was left by the client.
    Broken,
    /// No answer that counts: the worker failed or refused, or the client left before.
    Unanswered,
    /// There was nobody to choose.
    NoWorker,
    /// Given up without a word.
    Dropped,
}

/// Something beside decisions that changed the scheduler.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// Its number.
    pub seq: u64,
    /// When.
    pub timestamp: u64,
    /// What.
    #[serde(flatten)]
    pub what: What,
}

/// What happened to a worker, or to all.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum What {
    /// A worker came, or took another role.
    Joined {
        /// The worker.
        worker: String,
        /// What it serves.
        role: String,
    },
    /// A worker left.
    Left {
        /// The worker.
        worker: String,
    },
    /// A worker is to be chosen, or to be passed over.
    Stands {
        /// The worker.
        worker: String,
        /// `open`, `passed_over`, `ejected` or `out`.
        standing: String,
    },
    /// A worker lost its credit for prefixes: its engine ended.
    Forgotten {
        /// The worker.
        worker: String,
    },
    /// An engine's own counts were read.
    Observed {
        /// The worker.
        worker: String,
        /// Requests that it computes.
        running: f64,
        /// Requests that wait.
        waiting: f64,
    },
    /// An engine said how much its cache holds.
    Capacity {
        /// The worker.
        worker: String,
        /// Tokens.
        tokens: f64,
    },
    /// It was said which models a worker serves.
    Serves {
        /// The worker.
        worker: String,
        /// The models' ids; null for everything, none for nothing.
        models: Option<Vec<String>>,
        /// Whether it takes models that no worker lists as well.
        others: bool,
    },
    /// It was said which endpoints a worker serves by name.
    Endpoints {
        /// The worker.
        worker: String,
        /// Their paths.
        endpoints: Vec<String>,
    },
    /// Another router said what it has in hand.
    Foreign {
        /// Its name.
        origin: String,
        /// (worker, requests, weight, pending tokens, resident tokens).
        rows: Vec<Row>,
    },
    /// Another router told of a prompt.
    Heard {
        /// The worker that it was given to.
        worker: String,
        /// Tokens of the prompt.
        tokens: f64,
        /// Of these, those that the worker was thought to lack.
        uncached: f64,
        /// Ids of its whole blocks.
        hash_ids: Vec<u64>,
    },
    /// Another router told that a prompt had no answer.
    Unheard {
        /// The worker.
        worker: String,
        /// Tokens that the worker has not got after all.
        uncached: f64,
        /// Ids of the prompt's whole blocks.
        hash_ids: Vec<u64>,
        /// Blocks that the worker has.
        stay: u32,
    },
    /// What an engine said after its decision was over.
    Answered {
        /// Number of the decision.
        decision: u64,
        /// Tokens of the prompt by the engine's count.
        prompt_tokens: u64,
        /// Of these, those that it had cached.
        cached_tokens: Option<u64>,
    },
    /// The scheduler goes on with other policies, settings and chance.
    Tuned(Box<Tuned>),
    /// Workers that left with requests in hand were looked through.
    Reaped,
    /// Old blocks were dropped.
    Expired,
}

impl What {
    /// What another router told, with ids in the place of hashes.
    pub fn heard(heard: &Heard<'_>, ids: &Ids) -> Self {
        let blocks = |hashes: &[u64]| hashes.iter().map(|&hash| ids.block(hash)).collect();
        match heard {
            Heard::Recorded {
                worker,
                hashes,
                tokens,
                uncached,
            } => Self::Heard {
                worker: (*worker).to_owned(),
                tokens: *tokens,
                uncached: *uncached,
                hash_ids: blocks(hashes),
            },
            Heard::TakenBack {
                worker,
                hashes,
                stay,
                uncached,
            } => Self::Unheard {
                worker: (*worker).to_owned(),
                uncached: *uncached,
                hash_ids: blocks(hashes),
                stay: *stay,
            },
            Heard::Forgotten { worker } => Self::Forgotten {
                worker: (*worker).to_owned(),
            },
        }
    }

    /// Bytes held beside the value itself, as far as they may be many.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Foreign { rows, .. } => rows
                .iter()
                .map(|(url, ..)| size_of::<Row>() + url.len())
                .sum(),
            Self::Heard { hash_ids, .. } | Self::Unheard { hash_ids, .. } => {
                size_of_val(&**hash_ids)
            }
            _ => 0,
        }
    }
}

/// A worker, and the fields of [`Held`].
pub type Row = (String, u64, u64, f64, f64);

/// What is held at a worker as a row.
pub fn row((url, held): &(String, Held)) -> Row {
    let Held {
        running,
        weight,
        pending,
        resident,
    } = *held;
    (url.clone(), running, weight, pending, resident)
}

/// A row as the scheduler takes it.
pub fn held((url, running, weight, pending, resident): Row) -> (String, Held) {
    let held = Held {
        running,
        weight,
        pending,
        resident,
    };
    (url, held)
}

/// What of a scheduler may change while it works; see [`Head`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the fields of Head")]
pub struct Tuned {
    pub policies: Vec<(String, String)>,
    pub settings: Tuning,
    pub seed: u64,
}

impl Tuned {
    /// What changes as `config` says.
    pub fn new(config: &SchedulerConfig) -> Self {
        let head = Head::new(config, String::new());
        Self {
            policies: head.policies,
            settings: head.settings,
            seed: head.seed,
        }
    }
}

impl Head {
    /// Whether a scheduler was set up as `config` says.
    pub fn says(&self, config: &SchedulerConfig) -> bool {
        let head = Self::new(config, self.run.clone());
        *self
            == Self {
                part: self.part,
                replica: self.replica.clone(),
                ..head
            }
    }

    /// The same with what has changed since.
    #[must_use]
    pub fn tuned(&self, tuned: &Tuned) -> Self {
        Self {
            policies: tuned.policies.clone(),
            settings: tuned.settings,
            seed: tuned.seed,
            ..self.clone()
        }
    }

    /// The head of a run's first file.
    pub fn new(config: &SchedulerConfig, run: String) -> Self {
        let policy = |&(role, policy): &(Role, Policy)| (role.name().into(), policy.name().into());
        let settings = &config.settings;
        Self {
            format: FORMAT,
            run,
            part: 0,
            policies: config.policies.iter().map(policy).collect(),
            block_size: config.block_size,
            cache_max_bytes: config.cache_max_bytes,
            idle_limit: config.idle_limit,
            settings: Tuning {
                balance_abs_threshold: settings.balance_abs_threshold,
                balance_rel_threshold: settings.balance_rel_threshold,
                hit_ratio_weight: settings.hit_ratio_weight,
                load_balance_weight: settings.load_balance_weight,
                waiting_weight: settings.waiting_weight,
                metrics_max_age: settings.metrics_max_age,
                copy_cost: settings.copy_cost,
                base_running: settings.base_running,
            },
            seed: config.seed,
            replica: None,
        }
    }

    /// The same as a configuration, or what in it is not known.
    pub fn config(&self) -> Result<SchedulerConfig, String> {
        let mut policies = Vec::with_capacity(self.policies.len());
        for (role, policy) in &self.policies {
            let role = role.parse::<Role>().map_err(|error| error.to_string())?;
            let policy = policy.parse::<Policy>();
            policies.push((role, policy.map_err(|error| error.to_string())?));
        }
        let settings = &self.settings;
        Ok(SchedulerConfig {
            policies,
            block_size: self.block_size,
            cache_max_bytes: self.cache_max_bytes,
            idle_limit: self.idle_limit,
            settings: Settings {
                balance_abs_threshold: settings.balance_abs_threshold,
                balance_rel_threshold: settings.balance_rel_threshold,
                hit_ratio_weight: settings.hit_ratio_weight,
                load_balance_weight: settings.load_balance_weight,
                waiting_weight: settings.waiting_weight,
                metrics_max_age: settings.metrics_max_age,
                copy_cost: settings.copy_cost,
                base_running: settings.base_running,
            },
            seed: self.seed,
        })
    }
}

/// What kind of line it is.
#[derive(Deserialize)]
struct Kind<'a> {
    #[serde(borrow)]
    event: std::borrow::Cow<'a, str>,
}

impl Line {
    /// Reads a line.
    pub fn read(text: &str) -> Result<Self, serde_json::Error> {
        let kind: Kind<'_> = serde_json::from_str(text)?;
        match &*kind.event {
            "start" => serde_json::from_str(text).map(Self::Start),
            "request" => serde_json::from_str(text).map(Self::Request),
            _ => serde_json::from_str(text).map(Self::Change),
        }
    }

    /// The line as text, with its end.
    pub fn bytes(&self) -> Vec<u8> {
        // It does not fail: every key is text.
        let mut line = serde_json::to_vec(self).unwrap_or_default();
        line.push(b'\n');
        line
    }
}
