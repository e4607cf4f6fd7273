//! A stretch of iterations is what its iterations one by one are.

use super::*;
use crate::trace::{Arrival, Request};

const BLOCK: usize = 16;

/// What an engine tells of requests, with times.
fn told(requests: &[Request], cache_blocks: usize, longest: u64) -> Vec<(u64, News)> {
    let model = fleet::Batching {
        max_tokens: 100,
        max_running: 6,
    };
    let mut engine = Batching::new(model, Cache::new(cache_blocks), BLOCK, 1.0);
    engine.longest = longest;
    let (mut all, mut news) = (Vec::new(), Vec::new());
    let mut jobs = requests.iter().enumerate().peekable();
    loop {
        let arrival = jobs.peek().map(|(_, request)| match request.arrival {
            Arrival::At(at) => at,
            Arrival::After { delay, .. } => delay,
        });
        match (arrival, engine.next()) {
            (None, None) => return all,
            (Some(at), next) if next.is_none_or(|next| at <= next) => {
                let (id, request) = jobs.next().unwrap();
                // Every fifth comes with its prompt computed elsewhere.
                let part = if id % 5 == 0 && request.output_tokens > 1 {
                    Part::Decode
                } else {
                    Part::Whole
                };
                engine.submit(Job { id, request, part }, at);
            }
            (_, Some(next)) => {
                engine.wake(next, &mut news);
                all.extend(news.drain(..).map(|news| (next, news)));
            }
            (Some(_), None) => {}
        }
    }
}

#[test]
fn a_stretch_is_its_iterations() {
    let mut longer = 0;
    for seed in 0..40 {
        let mut chance = fastrand::Rng::with_seed(seed);
        let mut at = 0;
        let requests: Vec<Request> = (0..60)
            .map(|_| {
                at += chance.u64(..200_000);
                let input_tokens = chance.usize(1..200);
                let family = chance.u64(..3) * 1_000;
                Request {
                    arrival: Arrival::At(at),
                    session: None,
                    input_tokens,
                    output_tokens: chance.usize(1..80),
                    blocks: (0..input_tokens / BLOCK)
                        .map(|block| family + block as u64)
                        .collect(),
                    streamed: true,
                }
            })
            .collect();
        // From caches that put requests back all the time to ones that never do.
        let cache_blocks = chance.usize(16..60);
        let single = told(&requests, cache_blocks, 1);
        assert_eq!(told(&requests, cache_blocks, u64::MAX), single);
        assert!(
            single
                .iter()
                .filter(|(_, news)| news.kind == Kind::Done)
                .count()
                > 40
        );
        longer += usize::from(cache_blocks > 40);
    }
    assert!(longer > 0);
}
