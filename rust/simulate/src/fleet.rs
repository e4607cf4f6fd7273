//! What stands behind the router.

/// The engines.
#[derive(Debug, Clone)]
pub enum Fleet {
    /// Every engine serves whole requests.
    Mixed(Vec<Engine>),
    /// Prompts and answers are served by different engines.
    Disaggregated {
        /// Engines that compute prompts and first tokens.
        prefill: Vec<Engine>,
        /// Engines that generate the other tokens.
        decode: Vec<Engine>,
        /// Microseconds from the first token to the prompt's KV being at the decode engine.
        handover: u64,
    },
}

impl Fleet {
    /// `count` equal engines for whole requests.
    pub fn mixed(count: usize, engine: &Engine) -> Self {
        Self::Mixed(vec![engine.clone(); count])
    }

    /// Workers for whole requests, or for prompts where these are others.
    pub const fn workers(&self) -> usize {
        match self {
            Self::Mixed(engines)
            | Self::Disaggregated {
                prefill: engines, ..
            } => engines.len(),
        }
    }
}

/// One engine.
#[derive(Debug, Clone)]
pub struct Engine {
    /// How it spends time.
    pub model: Model,
    /// Blocks that its cache holds, each of the trace's block size.
    pub cache_blocks: usize,
    /// What every duration is multiplied with: 2.0 is half as fast.
    pub slowdown: f64,
    /// Changes of the cache's size that nobody is told of, in order of time.
    pub changes: Vec<CacheChange>,
}

impl Engine {
    /// An engine of ordinary speed.
    pub const fn new(model: Model, cache_blocks: usize) -> Self {
        Self {
            model,
            cache_blocks,
            slowdown: 1.0,
            changes: Vec::new(),
        }
    }

    /// The same engine, slower by a factor.
    #[must_use]
    pub const fn slower(mut self, factor: f64) -> Self {
        self.slowdown = factor;
        self
    }
}

/// A cache that gets another size.
#[derive(Debug, Clone, Copy)]
pub struct CacheChange {
    /// When, in microseconds.
    pub at: u64,
    /// Blocks from then on.
    pub cache_blocks: usize,
}

/// How an engine spends time.
#[derive(Debug, Clone, Copy)]
pub enum Model {
    /// See [`Serial`].
    Serial(Serial),
    /// See [`Batching`].
    Batching(Batching),
}

/// One prompt at a time, in order of arrival; answers do not slow each other. Microseconds.
#[derive(Debug, Clone, Copy)]
pub struct Serial {
    /// For every prompt.
    pub base: u64,
    /// For every block of the prompt that is not cached, a part of a block counting as one.
    pub block: u64,
    /// From one token of an answer to the next.
    pub token: u64,
}

/// Continuous batching as vLLM does it, at the speed that NVIDIA Dynamo's mocker has by default.
#[derive(Debug, Clone, Copy)]
pub struct Batching {
    /// Tokens computed in one iteration at most.
    pub max_tokens: usize,
    /// Requests under way at most.
    pub max_running: usize,
}

impl Default for Batching {
    /// vLLM's and the mocker's defaults.
    fn default() -> Self {
        Self {
            max_tokens: 8_192,
            max_running: 256,
        }
    }
}
