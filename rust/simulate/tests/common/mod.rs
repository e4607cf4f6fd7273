//! Choosers that look at nothing, and the public trace.
#![allow(
    clippy::unwrap_used,
    dead_code,
    unreachable_pub,
    reason = "every test file is a crate of its own and uses a part of this"
)]

use std::io::Read;
use std::path::{Path, PathBuf};

use fd_router_simulate::{Ask, Chooser, Ended, Pick, Role, Ticket, Trace};

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
