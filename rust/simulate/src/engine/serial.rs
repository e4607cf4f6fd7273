//! The simplest engine that has a queue and a cache: one prompt at a time, in order of arrival.
//!
//! Answers run beside each other and beside prompts at a constant pace, so that everything between a prompt's start
//! and its request's end is known when it starts. The cache keeps prompts only, and none is held for an answer.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use super::cache::Cache;
use super::{Job, Kind, News, Part, Runs, scaled};
use crate::fleet;

#[derive(Debug)]
pub(super) struct Serial<'t> {
    model: fleet::Serial,
    cache: Cache,
    block_size: usize,
    slowdown: f64,
    waiting: VecDeque<Job<'t>>,
    /// When the next prompt may start.
    free_at: u64,
    /// When an answer ends, and whose: (time, order, request).
    answers: BinaryHeap<Reverse<(u64, u64, usize)>>,
    prompt: Option<Prompt<'t>>,
    started: u64,
}

/// A prompt being computed.
#[derive(Debug)]
struct Prompt<'t> {
    job: Job<'t>,
    cached_tokens: usize,
    blocks: Vec<u32>,
    found: usize,
}

impl<'t> Serial<'t> {
    pub(super) fn new(
        model: fleet::Serial,
        cache: Cache,
        block_size: usize,
        slowdown: f64,
    ) -> Self {
        Self {
            model,
            cache,
            block_size,
            slowdown,
            waiting: VecDeque::new(),
            free_at: 0,
            answers: BinaryHeap::new(),
            prompt: None,
            started: 0,
        }
    }

    fn start(&mut self, now: u64, news: &mut Vec<News>) {
        while let Some(job) = self.waiting.pop_front() {
            if job.part == Part::Decode {
                self.answer(job, now, news);
                continue;
            }
            let ids = &*job.request.blocks;
            let input = job.request.input_tokens;
            // The last token is always computed, as its logits are wanted.
            let usable = ids.len().min((input - 1) / self.block_size);
            let mut blocks = Vec::with_capacity(ids.len());
            let Some(found) = self.cache.admit(ids, usable, &mut blocks) else {
                news.push(News {
                    id: job.id,
                    kind: Kind::Refused,
                });
                continue;
            };
            let cached_tokens = found * self.block_size;
            let uncached = (input - cached_tokens).div_ceil(self.block_size) as u64;
            let micros = self.model.base + self.model.block * uncached;
            self.free_at = now + scaled(micros as f64, self.slowdown);
            self.prompt = Some(Prompt {
                job,
                cached_tokens,
                blocks,
                found,
            });
            return;
        }
    }

    fn finish(&mut self, mut prompt: Prompt<'t>, now: u64, news: &mut Vec<News>) {
        let ids = &prompt.job.request.blocks;
        self.cache
            .publish_prompt(ids, prompt.found, &mut prompt.blocks);
        self.cache.release(&mut prompt.blocks);
        news.push(News {
            id: prompt.job.id,
            kind: Kind::FirstToken {
                cached_tokens: prompt.cached_tokens,
            },
        });
        self.answer(prompt.job, now, news);
    }

    /// Starts what comes after the first token.
    fn answer(&mut self, job: Job<'t>, now: u64, news: &mut Vec<News>) {
        let left = match job.part {
            Part::Whole | Part::Prefill => job.tokens() - 1,
            Part::Decode => job.tokens(),
        };
        if left == 0 {
            news.push(News {
                id: job.id,
                kind: Kind::Done,
            });
            return;
        }
        let took = scaled((self.model.token * left as u64) as f64, self.slowdown);
        self.started += 1;
        self.answers
            .push(Reverse((now + took, self.started, job.id)));
    }
}

impl<'t> Runs<'t> for Serial<'t> {
    fn submit(&mut self, job: Job<'t>, now: u64) {
        self.waiting.push_back(job);
        if self.prompt.is_none() {
            self.free_at = now;
        }
    }

    fn next(&self) -> Option<u64> {
        let prompt = (self.prompt.is_some() || !self.waiting.is_empty()).then_some(self.free_at);
        let answer = self.answers.peek().map(|Reverse((at, ..))| *at);
        prompt.into_iter().chain(answer).min()
    }

    fn wake(&mut self, now: u64, news: &mut Vec<News>) {
        while let Some(&Reverse((at, _, id))) = self.answers.peek()
            && at <= now
        {
            self.answers.pop();
            news.push(News {
                id,
                kind: Kind::Done,
            });
        }
        if self.free_at > now {
            return;
        }
        if let Some(prompt) = self.prompt.take() {
            self.finish(prompt, now, news);
        }
        self.start(now, news);
    }

    fn resize(&mut self, cache_blocks: usize) {
        self.cache.resize(cache_blocks);
    }
}
