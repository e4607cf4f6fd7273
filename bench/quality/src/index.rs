//! Which worker has been sent which prefix. It forgets nothing: it knows no capacity.

use rustc_hash::FxHashMap;

/// Workers by block, as bits. For at most 64 workers.
#[derive(Debug, Default)]
pub(crate) struct Index {
    workers: FxHashMap<u64, u64>,
}

impl Index {
    /// Leading blocks that each of `count` workers was sent.
    pub(crate) fn matched(&self, blocks: &[u64], count: usize) -> Vec<usize> {
        let mut matched = vec![0; count];
        let mut left = u64::MAX;
        for (depth, block) in blocks.iter().enumerate() {
            let here = left & self.workers.get(block).copied().unwrap_or(0);
            close(&mut matched, left & !here, depth);
            left = here;
            if left == 0 {
                return matched;
            }
        }
        close(&mut matched, left, blocks.len());
        matched
    }

    /// `worker` is sent a prompt.
    pub(crate) fn record(&mut self, blocks: &[u64], worker: usize) {
        for &block in blocks {
            *self.workers.entry(block).or_default() |= 1 << worker;
        }
    }
}

/// Those workers go no deeper.
fn close(matched: &mut [usize], mut workers: u64, depth: usize) {
    while workers != 0 {
        if let Some(matched) = matched.get_mut(workers.trailing_zeros() as usize) {
            *matched = depth;
        }
        workers &= workers - 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_worker_has_its_own_longest_match() {
        let mut index = Index::default();
        index.record(&[1, 2, 3], 0);
        index.record(&[1, 2], 2);
        index.record(&[3], 1);
        assert_eq!(index.matched(&[1, 2, 3, 4], 4), [3, 0, 2, 0]);
        assert_eq!(index.matched(&[1, 2, 3], 3), [3, 0, 2]);
        assert_eq!(index.matched(&[], 2), [0, 0]);
    }
}
