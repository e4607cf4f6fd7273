//! A router around a rule: index, counters, and chance for ties.

use fd_router_simulate::{Ask, Chooser, Ended, Pick, Role, Ticket};

use crate::index::Index;
use crate::loads::Loads;
use crate::rules::{Kind, Rule, Scene};

const SEED: u64 = 1;

/// A router for whole requests.
pub(crate) struct Router {
    index: Index,
    loads: Loads,
    rule: Box<dyn Rule>,
    chance: fastrand::Rng,
}

impl Router {
    pub(crate) fn new(kind: Kind, workers: usize) -> Self {
        Self {
            index: Index::default(),
            loads: Loads::new(workers),
            rule: kind.build(),
            chance: fastrand::Rng::with_seed(SEED),
        }
    }
}

impl Chooser for Router {
    fn choose(&mut self, _: Role, ask: &Ask<'_>, ticket: Ticket, _: u64) -> Pick {
        let loads = self.loads.workers();
        let matched = self.index.matched(ask.blocks, loads.len());
        let scene = Scene {
            ask,
            loads,
            matched: &matched,
        };
        let worker = self.rule.choose(&scene, &mut self.chance);
        let uncached = scene.uncached(worker);
        self.loads.book(ticket, worker, uncached, ask.blocks);
        self.index.record(ask.blocks, worker);
        Pick {
            worker,
            predicted_tokens: Some(matched[worker] * ask.block_size),
        }
    }

    fn first_byte(&mut self, ticket: Ticket, _: u64) {
        self.loads.first_byte(ticket);
    }

    fn end(&mut self, ticket: Ticket, _: &Ended, _: u64) {
        self.loads.end(ticket);
    }
}
