//! Choosers that look at nothing, the public trace, and conversations that are made up.
#![allow(
    clippy::unwrap_used,
    dead_code,
    unreachable_pub,
    reason = "every test file is a crate of its own and uses a part of this"
)]

use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};

use fd_router_simulate::{Arrival, Ask, Chooser, Ended, Pick, Request, Role, Ticket, Trace};

/// Workers in turn, each role for itself.
#[derive(Debug)]
pub struct RoundRobin {
    workers: usize,
    next: [usize; 2],
}

impl RoundRobin {
    pub const fn new(workers: usize) -> Self {
        Self {
            workers,
            next: [0; 2],
        }
    }
}

impl Chooser for RoundRobin {
    fn choose(&mut self, role: Role, _: &Ask<'_>, _: Ticket, _: u64) -> Pick {
        let next = &mut self.next[usize::from(role == Role::Decode)];
        let worker = *next;
        *next = (worker + 1) % self.workers;
        Pick::blind(worker)
    }

    fn first_byte(&mut self, _: Ticket, _: u64) {}

    fn end(&mut self, _: Ticket, _: &Ended, _: u64) {}
}

/// Any worker.
#[derive(Debug)]
pub struct Random {
    workers: usize,
    chance: fastrand::Rng,
}

impl Random {
    pub fn new(workers: usize, seed: u64) -> Self {
        Self {
            workers,
            chance: fastrand::Rng::with_seed(seed),
        }
    }
}

impl Chooser for Random {
    fn choose(&mut self, _: Role, _: &Ask<'_>, _: Ticket, _: u64) -> Pick {
        Pick::blind(self.chance.usize(..self.workers))
    }

    fn first_byte(&mut self, _: Ticket, _: u64) {}

    fn end(&mut self, _: Ticket, _: &Ended, _: u64) {}
}

/// Tokens of a block of [`Conversations`].
pub const BLOCK: usize = 16;

/// Sessions in no order whose prompts grow from turn to turn, streamed and not.
#[derive(Debug, Clone)]
pub struct Conversations {
    /// How many there are.
    pub sessions: usize,
    /// Blocks of each before its first turn.
    pub begun: usize,
    /// Blocks that a turn adds.
    pub grows: Range<usize>,
    /// Blocks at which one begins anew.
    pub longest: usize,
    /// Microseconds between two requests.
    pub apart: u64,
}

impl Conversations {
    /// Their first requests.
    pub fn trace(&self, count: usize) -> Trace {
        let mut chance = fastrand::Rng::with_seed(11);
        let mut turns = vec![self.begun; self.sessions];
        let requests = (0..count).map(|position| {
            let session = chance.usize(..self.sessions);
            turns[session] = (turns[session] + chance.usize(self.grows.clone())) % self.longest;
            let arrival = Arrival::At(position as u64 * self.apart);
            request(arrival, session, turns[session] + 1, &mut chance)
        });
        Trace {
            requests: requests.collect(),
            block_size: BLOCK,
        }
    }
}

/// A prompt of so many blocks of a session's, and a bit of another.
pub fn request(
    arrival: Arrival,
    session: usize,
    blocks: usize,
    chance: &mut fastrand::Rng,
) -> Request {
    Request {
        arrival,
        session: Some(session),
        input_tokens: blocks * BLOCK + chance.usize(1..BLOCK),
        output_tokens: chance.usize(1..40),
        blocks: (0..blocks as u64)
            .map(|block| block + ((session as u64 + 1) << 20))
            .collect(),
        streamed: chance.bool(),
    }
}

/// The Mooncake conversation trace; None, and a word about it, where the shared data is not present.
pub fn conversation() -> Option<Trace> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let data = std::env::var_os("FD_ROUTER_DATA");
    let data = data.map_or_else(|| root.join("../shared/data"), PathBuf::from);
    let path = data.join("conversation_trace.jsonl.gz");
    if !path.exists() {
        println!("skipped: {} is not here", path.display());
        return None;
    }
    let mut text = String::new();
    flate2::read::GzDecoder::new(std::fs::File::open(path).unwrap())
        .read_to_string(&mut text)
        .unwrap();
    Some(Trace::from_mooncake(&text, 512).unwrap())
}
