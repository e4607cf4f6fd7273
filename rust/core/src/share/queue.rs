//! What waits to be told; the oldest goes where there is too much.

use std::collections::VecDeque;
use std::sync::Arc;

use super::Given;
use crate::load::Worker;

/// Something that others may want to know.
#[derive(Debug, Clone)]
pub(crate) enum News {
    /// A worker was given a chain.
    Recorded(Given),
    /// It gave no answer: of the chain that ends with `last` it has the blocks that `stay`.
    TakenBack {
        worker: Arc<Worker>,
        last: u64,
        stay: u32,
        /// Tokens of the others.
        uncached: f64,
    },
    /// Its engine ended, and its cache with it.
    Forgotten(Arc<Worker>),
}

impl News {
    pub(crate) const fn worker(&self) -> &Arc<Worker> {
        match self {
            Self::Recorded(Given { worker, .. })
            | Self::TakenBack { worker, .. }
            | Self::Forgotten(worker) => worker,
        }
    }

    fn bytes(&self) -> usize {
        let blocks = match self {
            Self::Recorded(given) => given.hashes.len(),
            Self::TakenBack { .. } | Self::Forgotten(_) => 0,
        };
        size_of::<Self>() + blocks * size_of::<u64>()
    }
}

#[derive(Debug, Default)]
pub(crate) struct Queue {
    news: VecDeque<News>,
    bytes: usize,
    limit: usize,
    dropped: u64,
}

impl Queue {
    /// Takes up to so many bytes; 0 drops what there is.
    pub(crate) fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
        self.shrink();
        if limit == 0 {
            self.news = VecDeque::new();
        }
    }

    pub(crate) fn push(&mut self, news: News) {
        self.bytes += news.bytes();
        self.news.push_back(news);
        self.shrink();
    }

    pub(crate) fn pop(&mut self) -> Option<News> {
        let news = self.news.pop_front()?;
        self.bytes -= news.bytes();
        Some(news)
    }

    /// News that wait, and those that were dropped since the start.
    pub(crate) fn counts(&self) -> (usize, u64) {
        (self.news.len(), self.dropped)
    }

    fn shrink(&mut self) {
        while self.bytes > self.limit {
            if self.pop().is_none() {
                return;
            }
            self.dropped += 1;
        }
    }
}
