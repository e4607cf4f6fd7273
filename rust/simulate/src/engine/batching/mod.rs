//! Continuous batching as vLLM does it, told from the source of NVIDIA Dynamo's mocker (`scheduler/vllm/core.rs`).
//!
//! An engine works in iterations. Each has a budget of tokens. Running requests come first, in the order in which they
//! were admitted: one that generates takes one token, one whose prompt is not finished takes what is left. Then
//! waiting requests are admitted in order of arrival, each with as much of its prompt as the budget allows, as long as
//! the blocks of *all* its known tokens could be had. The first that does not fit holds up those behind it.
//!
//! - An iteration takes its prefill part plus its decode part. The decode part is there when any request gets a token
//!   at its end, be it the first one: a prompt's last chunk pays for both. A chunk that is not the last pays for
//!   prefill alone.
//! - Prefix blocks are looked up once, on admission. At least one token is computed, and so the last block of a prompt
//!   that is all in the cache. Only whole blocks are found.
//! - Blocks are taken as tokens are computed: a prompt's with its chunks, an answer's when a token crosses into the
//!   next one. A full block can be found by others at once, even by a request admitted in the same iteration.
//! - When a running request gets no block, the one admitted last is put back to the head of the queue without blocks;
//!   its tokens stay and are computed again. Nothing is admitted in that iteration.
//!
//! While nothing but answers is under way, iterations are equal until a token crosses into a block or an answer ends:
//! such a [`Stretch`] is one event. A request that comes in cuts it at the end of the iteration under way.

mod cost;
mod sequence;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use self::sequence::Sequence;
use super::cache::Cache;
use super::{Job, Kind, News, Part, Runs, scaled};
use crate::fleet;

#[derive(Debug)]
pub(super) struct Batching<'t> {
    model: fleet::Batching,
    cache: Cache,
    block_size: usize,
    slowdown: f64,
    waiting: VecDeque<Sequence<'t>>,
    running: Vec<Sequence<'t>>,
    now: Now,
    /// Iterations in a stretch at most; tests compare stretches with single iterations.
    longest: u64,
}

/// What the engine is doing.
#[derive(Debug, Clone, Copy)]
enum Now {
    /// Nothing.
    Rests,
    /// It has work and starts at this time.
    Starts(u64),
    /// Iterations.
    Works(Stretch),
}

/// Equal iterations in a row.
#[derive(Debug, Clone, Copy)]
struct Stretch {
    start: u64,
    /// Microseconds an iteration.
    each: u64,
    count: u64,
}

impl Stretch {
    const fn end(self) -> u64 {
        self.start + self.each * self.count
    }

    /// Ends it with the iteration under way.
    fn cut(&mut self, now: u64) {
        let under_way = (now - self.start).div_ceil(self.each).max(1);
        self.count = self.count.min(under_way);
    }
}

/// What one iteration computes.
#[derive(Debug)]
struct Plan {
    budget: usize,
    prefill_tokens: usize,
    put_back: bool,
}

impl Batching<'_> {
    pub(super) fn new(
        model: fleet::Batching,
        cache: Cache,
        block_size: usize,
        slowdown: f64,
    ) -> Self {
        Self {
            model: fleet::Batching {
                max_tokens: model.max_tokens.max(1),
                max_running: model.max_running.max(1),
            },
            cache,
            block_size,
            slowdown,
            waiting: VecDeque::new(),
            running: Vec::new(),
            now: Now::Rests,
            longest: u64::MAX,
        }
    }

    /// Starts an iteration, or more.
    fn start(&mut self, now: u64, news: &mut Vec<News>) {
        let mut plan = Plan {
            budget: self.model.max_tokens,
            prefill_tokens: 0,
            put_back: false,
        };
        self.go_on(&mut plan, news);
        if !plan.put_back {
            self.admit(&mut plan, news);
        }
        self.now = if self.running.is_empty() {
            // Only after a refusal is there something left: it is tried at once.
            if self.waiting.is_empty() {
                Now::Rests
            } else {
                Now::Starts(now)
            }
        } else {
            Now::Works(self.stretch(&plan, now))
        };
    }

    /// Gives running requests their tokens.
    fn go_on(&mut self, plan: &mut Plan, news: &mut Vec<News>) {
        let mut index = 0;
        while index < self.running.len() && plan.budget > 0 {
            let sequence = &mut self.running[index];
            let tokens = sequence.lacking().min(plan.budget);
            let target = sequence.computed + tokens;
            if sequence.advance(&mut self.cache, target, self.block_size) {
                plan.take(sequence, tokens);
                index += 1;
                continue;
            }
            plan.put_back = true;
            self.put_back(news);
        }
    }

    /// Puts the request admitted last back into the queue. It had no tokens in this iteration yet: the ones before it
    /// are served first. One that has the engine to itself will never fit.
    fn put_back(&mut self, news: &mut Vec<News>) {
        let Some(mut last) = self.running.pop() else {
            return;
        };
        last.release(&mut self.cache);
        last.prefilling = true;
        if self.running.is_empty() {
            news.push(last.refused());
        } else {
            self.waiting.push_front(last);
        }
    }

    /// Admits waiting requests.
    fn admit(&mut self, plan: &mut Plan, news: &mut Vec<News>) {
        while self.running.len() < self.model.max_running && plan.budget > 0 {
            let Some(mut sequence) = self.waiting.pop_front() else {
                return;
            };
            let found = self.cache.find(sequence.usable(self.block_size));
            let needed = sequence.blocks_known(self.block_size) - found.in_use;
            if needed > self.cache.available() {
                if self.running.is_empty() {
                    news.push(sequence.refused());
                    continue;
                }
                self.waiting.push_front(sequence);
                return;
            }
            sequence.adopt(&mut self.cache, found.blocks, self.block_size);
            if !sequence.prefilling {
                // A prompt computed elsewhere: there before anything is computed here.
                let prompt = sequence.known - 1;
                sequence.advance(&mut self.cache, prompt, self.block_size);
            }
            let tokens = sequence.lacking().min(plan.budget);
            let target = sequence.computed + tokens;
            sequence.advance(&mut self.cache, target, self.block_size);
            plan.take(&sequence, tokens);
            self.running.push(sequence);
        }
    }

    fn stretch(&self, plan: &Plan, start: u64) -> Stretch {
        // A prefill engine's first token comes out of the prefill itself.
        let decodes =
            |sequence: &Sequence<'_>| sequence.ready() && sequence.job.part != Part::Prefill;
        let mut millis = cost::prefill_ms(plan.prefill_tokens);
        if self.running.iter().any(decodes) {
            let used = self.cache.in_use() as f64 / self.cache.capacity() as f64;
            millis += cost::decode_ms(used);
        }
        let alone =
            plan.prefill_tokens == 0 && !plan.put_back && self.running.iter().all(Sequence::ready);
        Stretch {
            start,
            each: scaled(millis * 1_000.0, self.slowdown).max(1),
            count: if alone {
                self.repeats().min(self.longest)
            } else {
                1
            },
        }
    }

    /// How many iterations are like the one just planned, itself included: until a request is through or needs a
    /// block.
    fn repeats(&self) -> u64 {
        let until = |sequence: &Sequence<'_>| {
            let to_block_end = self.block_size - (sequence.computed - 1) % self.block_size;
            sequence.left.min(to_block_end)
        };
        self.running.iter().map(until).min().unwrap_or(1).max(1) as u64
    }

    /// Hands out the tokens of a stretch.
    fn finish(&mut self, stretch: Stretch, news: &mut Vec<News>) {
        let mut through = false;
        for sequence in &mut self.running {
            if !sequence.ready() {
                continue;
            }
            sequence.generate(&mut self.cache, stretch.count as usize, self.block_size);
            if !std::mem::replace(&mut sequence.told, true) && sequence.job.part != Part::Decode {
                news.push(sequence.first_token());
            }
            if sequence.left == 0 {
                sequence.release(&mut self.cache);
                news.push(sequence.done());
                through = true;
            }
        }
        if through {
            self.running.retain(|sequence| sequence.left > 0);
        }
    }
}

impl Plan {
    fn take(&mut self, sequence: &Sequence<'_>, tokens: usize) {
        self.budget -= tokens;
        if sequence.prefilling {
            self.prefill_tokens += tokens;
        }
    }
}

impl Sequence<'_> {
    fn first_token(&self) -> News {
        self.news(Kind::FirstToken {
            cached_tokens: self.cached_tokens.unwrap_or_default(),
        })
    }

    const fn done(&self) -> News {
        self.news(Kind::Done)
    }

    const fn refused(&self) -> News {
        self.news(Kind::Refused)
    }

    const fn news(&self, kind: Kind) -> News {
        News {
            id: self.job.id,
            kind,
        }
    }
}

impl<'t> Runs<'t> for Batching<'t> {
    fn submit(&mut self, job: Job<'t>, now: u64) {
        self.waiting.push_back(Sequence::new(job));
        match &mut self.now {
            Now::Rests => self.now = Now::Starts(now),
            Now::Starts(_) => {}
            Now::Works(stretch) => stretch.cut(now),
        }
    }

    fn next(&self) -> Option<u64> {
        match self.now {
            Now::Rests => None,
            Now::Starts(at) => Some(at),
            Now::Works(stretch) => Some(stretch.end()),
        }
    }

    fn wake(&mut self, now: u64, news: &mut Vec<News>) {
        if let Now::Works(stretch) = self.now {
            self.finish(stretch, news);
        }
        self.start(now, news);
    }

    fn resize(&mut self, cache_blocks: usize) {
        self.cache.resize(cache_blocks);
    }
}
