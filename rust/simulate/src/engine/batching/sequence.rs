//! One request inside a batching engine.

use super::super::cache::{Cache, PRIVATE};
use super::super::{Job, Part};

/// A request's tokens and blocks.
#[derive(Debug)]
pub(super) struct Sequence<'t> {
    pub(super) job: Job<'t>,
    /// Tokens that exist: the prompt's and the generated ones.
    pub(super) known: usize,
    /// Of these, the ones whose KV is in the cache.
    pub(super) computed: usize,
    /// Tokens still to be generated.
    pub(super) left: usize,
    /// Whether it still works on its prompt (or, put back, on what it had), so that its tokens are prefill.
    pub(super) prefilling: bool,
    /// Prompt tokens found in the cache when it was first admitted.
    pub(super) cached_tokens: Option<usize>,
    /// Whether the first token was told of.
    pub(super) told: bool,
    /// Blocks held, in order of the sequence.
    blocks: Vec<u32>,
    /// Leading blocks that others can find.
    published: usize,
}

impl<'t> Sequence<'t> {
    pub(super) fn new(job: Job<'t>) -> Self {
        let decode = job.part == Part::Decode;
        Self {
            job,
            // The first token came with the prompt's KV and is the next to be computed.
            known: job.request.input_tokens + usize::from(decode),
            computed: 0,
            left: job.tokens(),
            prefilling: !decode,
            cached_tokens: None,
            told: false,
            blocks: Vec::new(),
            published: 0,
        }
    }

    /// Tokens not computed yet.
    pub(super) const fn lacking(&self) -> usize {
        self.known - self.computed
    }

    /// Whether the next token comes at the end of this iteration.
    pub(super) const fn ready(&self) -> bool {
        self.computed == self.known
    }

    /// Blocks it needs to be admitted with all that it knows.
    pub(super) const fn blocks_known(&self, block_size: usize) -> usize {
        self.known.div_ceil(block_size)
    }

    /// Ids of the blocks that it may take from the cache: the last known token is computed in any case, as its logits
    /// are wanted, and blocks are taken whole.
    pub(super) fn usable(&self, block_size: usize) -> &'t [u64] {
        let ids: &'t [u64] = &self.job.request.blocks;
        &ids[..ids.len().min((self.known - 1) / block_size)]
    }

    /// Takes `found` blocks from the cache as computed.
    pub(super) fn adopt(&mut self, cache: &mut Cache, found: usize, block_size: usize) {
        let ids = &self.usable(block_size)[..found];
        cache.hold(ids, &mut self.blocks);
        self.published = self.blocks.len();
        self.computed = self.published * block_size;
        if self.prefilling {
            self.cached_tokens.get_or_insert(self.computed);
        }
    }

    /// Computes up to `computed` tokens. False, and nothing changed, when the cache has no room for them.
    pub(super) fn advance(
        &mut self,
        cache: &mut Cache,
        computed: usize,
        block_size: usize,
    ) -> bool {
        let wanted = computed.div_ceil(block_size);
        let more = wanted.saturating_sub(self.blocks.len());
        if more > 0 && !cache.reserve(more, &mut self.blocks) {
            return false;
        }
        self.computed = computed;
        self.publish(cache, block_size);
        true
    }

    /// Counts `tokens` generated one an iteration, in blocks that it has: the last one is not computed yet.
    pub(super) fn generate(&mut self, cache: &mut Cache, tokens: usize, block_size: usize) {
        self.known += tokens;
        self.left -= tokens;
        self.computed = self.known - 1;
        self.prefilling = false;
        self.publish(cache, block_size);
    }

    /// Gives all blocks back; what was computed is lost to it.
    pub(super) fn release(&mut self, cache: &mut Cache) {
        cache.release(&mut self.blocks);
        self.published = 0;
        self.computed = 0;
    }

    /// Lets others find the blocks that are full.
    fn publish(&mut self, cache: &mut Cache, block_size: usize) {
        let full = self.computed / block_size;
        while self.published < full {
            let block = &mut self.blocks[self.published];
            debug_assert_eq!(*block, PRIVATE);
            *block = cache.publish(self.job.request.blocks.get(self.published).copied());
            self.published += 1;
        }
    }
}
