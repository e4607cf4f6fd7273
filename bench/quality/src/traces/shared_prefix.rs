//! One prefix of 6,000 tokens in half of the traffic, prompts of their own in the other half.

use fd_router_simulate::{Arrival, Request, Trace};

const BLOCK_SIZE: usize = 512;
const PREFIX_TOKENS: usize = 6_000;
const SEED: u64 = 1;

/// `count` requests at `rate` a second on average.
pub(crate) fn trace(count: usize, rate: f64) -> Trace {
    let mut chance = fastrand::Rng::with_seed(SEED);
    let mut at = 0.0;
    let requests = (0..count).map(|request| {
        at += -(1.0 - chance.f64()).ln() / rate * 1e6;
        let shared = if chance.bool() { PREFIX_TOKENS } else { 0 };
        let input_tokens = match shared {
            0 => chance.usize(200..8_000),
            _ => shared + chance.usize(50..1_000),
        };
        let own = (request as u64 + 1) << 20;
        let blocks = (0..input_tokens / BLOCK_SIZE)
            .map(|block| {
                let in_prefix = (block + 1) * BLOCK_SIZE <= shared;
                block as u64 + if in_prefix { 0 } else { own }
            })
            .collect();
        Request {
            arrival: Arrival::At(at as u64),
            session: None,
            input_tokens,
            output_tokens: chance.usize(20..500),
            blocks,
            streamed: true,
        }
    });
    Trace {
        requests: requests.collect(),
        block_size: BLOCK_SIZE,
    }
}
