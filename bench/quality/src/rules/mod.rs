//! Rules of other routers, a leaf each.
//!
//! Ties go by chance among the tied: what the originals do there differs by version, and the first in the list would be
//! an unfair picture of them in an idle fleet.

mod affinity;
mod cache_aware;
mod dynamo;
mod product;
mod request_num;
mod round_robin;
mod sum;

use fd_router_simulate::Ask;

use crate::loads::Load;

/// Chooses a worker; books nothing.
pub(crate) trait Rule {
    fn choose(&mut self, scene: &Scene<'_>, chance: &mut fastrand::Rng) -> usize;
}

/// What a rule sees.
pub(crate) struct Scene<'a> {
    pub(crate) ask: &'a Ask<'a>,
    pub(crate) loads: &'a [Load],
    /// Leading blocks each worker was sent before.
    pub(crate) matched: &'a [usize],
}

impl Scene<'_> {
    /// Tokens that the worker lacks, at least 1.
    pub(crate) fn uncached(&self, worker: usize) -> usize {
        let cached = self.matched[worker] * self.ask.block_size;
        self.ask.input_tokens.saturating_sub(cached).max(1)
    }

    /// Share of the prompt that the worker was sent before.
    pub(crate) fn hit_share(&self, worker: usize) -> f64 {
        (self.matched[worker] * self.ask.block_size) as f64 / self.ask.input_tokens as f64
    }

    /// Tokens before the first byte: those waiting and the request's own.
    pub(crate) fn work(&self, worker: usize) -> usize {
        self.loads[worker].pending + self.uncached(worker)
    }

    fn workers(&self) -> std::ops::Range<usize> {
        0..self.loads.len()
    }
}

/// Any of the workers whose cost is the lowest; the first worker when there are none.
fn lowest(
    workers: impl Iterator<Item = usize>,
    chance: &mut fastrand::Rng,
    cost: impl Fn(usize) -> f64,
) -> usize {
    let (mut best, mut lowest, mut tied) = (0, f64::INFINITY, 0);
    for worker in workers {
        let cost = cost(worker);
        if cost < lowest {
            (best, lowest, tied) = (worker, cost, 1);
        } else if cost <= lowest {
            tied += 1;
            if chance.usize(..tied) == 0 {
                best = worker;
            }
        }
    }
    best
}

/// The rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    RoundRobin,
    RequestNum,
    CacheAware,
    Sum,
    Product,
    Affinity,
    Dynamo,
    Dynamo32,
}

impl Kind {
    pub(crate) const ALL: &[Self] = &[
        Self::RoundRobin,
        Self::RequestNum,
        Self::CacheAware,
        Self::Sum,
        Self::Product,
        Self::Affinity,
        Self::Dynamo,
        Self::Dynamo32,
    ];

    /// How the tables name it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::RoundRobin => "round_robin",
            Self::RequestNum => "request_num",
            Self::CacheAware => "sglang/smg cache_aware",
            Self::Sum => "pending + uncached",
            Self::Product => "... x (running + 1)",
            Self::Affinity => "hit affinity 0.8",
            Self::Dynamo => "dynamo s = 1",
            Self::Dynamo32 => "dynamo s = 32",
        }
    }

    pub(crate) fn build(self) -> Box<dyn Rule> {
        match self {
            Self::RoundRobin => Box::new(round_robin::RoundRobin::default()),
            Self::RequestNum => Box::new(request_num::RequestNum),
            Self::CacheAware => Box::new(cache_aware::CacheAware),
            Self::Sum => Box::new(sum::Sum),
            Self::Product => Box::new(product::Product),
            Self::Affinity => Box::new(affinity::Affinity),
            Self::Dynamo => Box::new(dynamo::Dynamo { scale: 1.0 }),
            Self::Dynamo32 => Box::new(dynamo::Dynamo { scale: 32.0 }),
        }
    }
}

#[cfg(test)]
mod tests;
