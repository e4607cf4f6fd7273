//! The engine `recorded`: a recording played again, event by event, through a scheduler.
//!
//! Engines are not modelled: first bytes, ends and what engines said come when they came. With the settings of the
//! recording every choice is the one that was made; with others the choices tell the two apart, while times stay those
//! of the workers that were chosen then.
//!
//! Blocks are known by their ids, so their hashes are other ones than in the router. That shows in one place: once the
//! prefix tree is full, which of its tables grows first depends on hashes, and so may what is forgotten.

use std::collections::BTreeMap;

use fd_router_core::hash::Prefix;
use fd_router_core::ids::Role;
use fd_router_core::policy::Policy;
use fd_router_core::scheduler::{
    Ask, Decision, Heard, NotServed, Scheduler, SchedulerConfig, Standing, Usage,
};
use fd_router_record::line::{Head, Outcome, Request, What, held};
use fd_router_record::reader::{Event, Kind, Recording};

use rustc_hash::FxHashMap;

use crate::router::spread;

/// Differences that are kept to be shown.
const SHOWN: usize = 20;

/// What cannot be played.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// A role has no policy in the settings.
    #[error("event {seq}: {error}")]
    NotServed {
        /// Number of the decision.
        seq: u64,
        /// Which role.
        error: NotServed,
    },
    /// A role, a policy or a standing is not known.
    #[error("event {seq}: unknown name {name:?}")]
    UnknownName {
        /// Number of the event.
        seq: u64,
        /// What is not known.
        name: String,
    },
}

/// A choice that was another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Number of the decision.
    pub seq: u64,
    /// Who was chosen then.
    pub recorded: Option<String>,
    /// Who is chosen now.
    pub replayed: Option<String>,
}

/// How a replay went.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Decisions.
    pub decisions: u64,
    /// Those with the same choice.
    pub same: u64,
    /// Those with the same choice and the same prediction of cached blocks.
    pub same_predictions: u64,
    /// The first of the others.
    pub differences: Vec<Difference>,
    /// Decisions by worker: (then, now).
    pub workers: BTreeMap<String, (u64, u64)>,
    /// Numbers that the recording lacks; with any, choices may differ for that.
    pub missing: u64,
}

/// Plays a recording through a scheduler that is set up as `config`.
///
/// Where that is how the recorded one was set up, it changes as that did.
pub fn replay(recording: &Recording, config: &SchedulerConfig) -> Result<Replayed, ReplayError> {
    let scheduler = Scheduler::new(config);
    let mut player = Player {
        scheduler: match &recording.head.replica {
            Some(replica) => scheduler.named(replica),
            None => scheduler,
        },
        head: &recording.head,
        follows: recording.head.says(config),
        requests: &recording.requests,
        decisions: recording.requests.iter().map(|_| None).collect(),
        late: late(recording),
        replayed: Replayed {
            missing: recording.missing,
            ..Replayed::default()
        },
    };
    for event in &recording.events {
        player.play(event)?;
    }
    Ok(player.replayed)
}

struct Player<'a> {
    scheduler: Scheduler,
    head: &'a Head,
    /// Whether changes of policies and settings are made as they were.
    follows: bool,
    requests: &'a [Request],
    decisions: Vec<Option<Decision>>,
    /// Decisions of which something is learned after their end: their positions, by their numbers.
    late: FxHashMap<u64, usize>,
    replayed: Replayed,
}

impl Player<'_> {
    fn play(&mut self, event: &Event) -> Result<(), ReplayError> {
        match &event.kind {
            Kind::Decided(position) => return self.decide(*position, event.at),
            Kind::FirstByte(position) => {
                if let Some(decision) = &self.decisions[*position] {
                    decision.lease.first_byte(event.at);
                }
            }
            Kind::Learned(position, usage) => {
                if let Some(decision) = &self.decisions[*position] {
                    self.scheduler.learn(decision, *usage);
                }
            }
            Kind::Ended(position, outcome) => self.end(*position, *outcome),
            Kind::Changed(what) => return self.change(what, event),
        }
        Ok(())
    }

    fn decide(&mut self, position: usize, now: u64) -> Result<(), ReplayError> {
        let request = &self.requests[position];
        let seq = request.seq;
        let role: Role = request
            .role
            .parse()
            .map_err(|_| unknown(seq, &request.role))?;
        let ask = Ask {
            tokens: request.tokens,
            weight: request.weight,
            prefix: self.looks(role).then(|| prefix(request)).flatten(),
            exact: request.exact,
            model: request.model.as_deref(),
            session: request.session.as_deref(),
            stream: request.stream,
            exclude: &request.exclude,
        };
        let decision = if let Some(endpoint) = &request.endpoint {
            self.scheduler.decide_for(endpoint, &ask, false, now)
        } else {
            let decision = self.scheduler.decide(role, ask, now);
            decision.map_err(|error| ReplayError::NotServed { seq, error })?
        };
        self.compare(request, decision.as_ref());
        self.decisions[position] = decision;
        Ok(())
    }

    /// Whether the policy of a role is given the prompt.
    fn looks(&self, role: Role) -> bool {
        let policy = self.scheduler.policy(role);
        policy.is_some_and(Policy::reads_prefixes)
    }

    fn compare(&mut self, request: &Request, decision: Option<&Decision>) {
        let chosen = decision.map(|decision| decision.lease.worker().url());
        let replayed = &mut self.replayed;
        replayed.decisions += 1;
        if let Some(worker) = &request.worker {
            replayed.workers.entry(worker.clone()).or_default().0 += 1;
        }
        if let Some(worker) = chosen {
            replayed.workers.entry(worker.to_owned()).or_default().1 += 1;
        }
        if chosen == request.worker.as_deref() {
            replayed.same += 1;
            let matched = decision.and_then(Decision::matched);
            replayed.same_predictions += u64::from(matched == request.predicted_blocks);
        } else if replayed.differences.len() < SHOWN {
            replayed.differences.push(Difference {
                seq: request.seq,
                recorded: request.worker.clone(),
                replayed: chosen.map(str::to_owned),
            });
        }
    }

    fn end(&mut self, position: usize, outcome: Outcome) {
        let place = &mut self.decisions[position];
        let Some(decision) = place.take() else {
            return;
        };
        decision.lease.release();
        if outcome == Outcome::Unanswered {
            self.scheduler.take_back(&decision);
        }
        if self.late.contains_key(&self.requests[position].seq) {
            *place = Some(decision);
        }
    }

    fn change(&self, what: &What, event: &Event) -> Result<(), ReplayError> {
        let scheduler = &self.scheduler;
        match what {
            What::Joined { worker, role } => {
                let role = role.parse().map_err(|_| unknown(event.seq, role))?;
                scheduler.add(worker, role);
            }
            What::Left { worker } => {
                scheduler.remove(worker);
            }
            What::Stands { worker, standing } => {
                let standing: Standing =
                    standing.parse().map_err(|_| unknown(event.seq, standing))?;
                scheduler.stand(worker, standing);
            }
            What::Forgotten { worker } => scheduler.forget_prefixes(worker, event.at),
            What::Observed {
                worker,
                running,
                waiting,
            } => scheduler.observe(worker, *running, *waiting, event.at),
            What::Foreign { origin, rows } => {
                let rows: Vec<_> = rows.iter().cloned().map(held).collect();
                scheduler.tell_foreign(origin, &rows);
            }
            What::Heard {
                worker,
                tokens,
                uncached,
                hash_ids,
            } => {
                let heard = Heard::Recorded {
                    worker,
                    hashes: &hashes(hash_ids),
                    tokens: *tokens,
                    uncached: *uncached,
                };
                scheduler.hear(&heard, event.at);
            }
            What::Unheard {
                worker,
                uncached,
                hash_ids,
                stay,
            } => {
                let heard = Heard::TakenBack {
                    worker,
                    hashes: &hashes(hash_ids),
                    stay: *stay,
                    uncached: *uncached,
                };
                scheduler.hear(&heard, event.at);
            }
            What::Answered {
                decision,
                prompt_tokens,
                cached_tokens,
            } => {
                let usage = Usage {
                    prompt: *prompt_tokens,
                    cached: *cached_tokens,
                };
                let position = self.late.get(decision);
                if let Some(decision) = position.and_then(|&at| self.decisions[at].as_ref()) {
                    scheduler.learn(decision, usage);
                }
            }
            What::Capacity { worker, tokens } => scheduler.tell_capacity(worker, *tokens),
            What::Serves {
                worker,
                models,
                others,
            } => scheduler.tell_models(worker, models.as_deref(), *others),
            What::Endpoints { worker, endpoints } => {
                scheduler.tell_endpoints(worker, endpoints.clone());
            }
            What::Tuned(tuned) if self.follows => {
                let config = self.head.tuned(tuned).config();
                scheduler.retune(&config.map_err(|why| unknown(event.seq, &why))?);
            }
            What::Tuned(_) => {}
            What::Reaped => {
                scheduler.reap();
            }
            What::Expired => {
                scheduler.expire(event.at);
            }
        }
        Ok(())
    }
}

fn late(recording: &Recording) -> FxHashMap<u64, usize> {
    let decisions = recording
        .events
        .iter()
        .filter_map(|event| match event.kind {
            Kind::Changed(What::Answered { decision, .. }) => Some(decision),
            _ => None,
        });
    let found = decisions.filter_map(|seq| {
        let requests = &recording.requests;
        let position = requests.binary_search_by_key(&seq, |request| request.seq);
        Some((seq, position.ok()?))
    });
    found.collect()
}

fn unknown(seq: u64, name: &str) -> ReplayError {
    ReplayError::UnknownName {
        seq,
        name: name.to_owned(),
    }
}

fn hashes(ids: &[u64]) -> Vec<u64> {
    ids.iter().map(|&id| spread(id)).collect()
}

/// The prompt as the scheduler had it; None for one with nothing in it.
fn prefix(request: &Request) -> Option<Prefix> {
    if request.empty {
        return None;
    }
    let runs = request.block_quarters.iter();
    let quarters =
        runs.flat_map(|&(count, quarters)| std::iter::repeat_n(quarters, count as usize));
    let hashes = hashes(&request.hash_ids).into_iter();
    let prefix = Prefix::of_parts(hashes.zip(quarters), request.prompt_quarters);
    Some(match request.hash_ids.first() {
        Some(&lot) => prefix.with_lot(lot),
        None => prefix,
    })
}
