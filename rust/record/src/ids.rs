//! Ids for what must not be found by guessing: prompts, sessions, models.
//!
//! The hashes in memory depend on nothing but their input, so whoever guesses a prompt can tell whether it was there.
//! Ids are those hashes once more, under a key (`SipHash`) that is drawn at the start and written nowhere.

use std::hash::{BuildHasher, RandomState};

use fd_router_core::hash::Prefix;
use fd_router_core::scheduler::ANY_MODEL;

/// Bits of a block's id: JSON readers that know only floating point keep them all.
const BITS: u32 = 53;

/// Turns hashes into ids; the same within one process, other ones in each.
#[derive(Debug, Clone)]
pub struct Ids(RandomState);

impl Ids {
    /// Ids under a key.
    pub const fn new(key: RandomState) -> Self {
        Self(key)
    }

    /// The id of a block, below 2^53.
    pub fn block(&self, hash: u64) -> u64 {
        self.0.hash_one(hash) >> (u64::BITS - BITS)
    }

    /// The prompt with its lot drawn by the id of its first block, as whoever reads the recording must draw it.
    #[must_use]
    pub fn draw(&self, prefix: Prefix) -> Prefix {
        match prefix.hashes().first() {
            Some(&first) => prefix.with_lot(self.block(first)),
            None => prefix,
        }
    }

    /// The id of a model; what asks for any says nothing of whoever asks.
    pub fn model(&self, name: &str) -> String {
        if name == ANY_MODEL {
            name.to_owned()
        } else {
            self.name(name)
        }
    }

    /// The id of a name, in 16 digits.
    pub fn name(&self, name: &str) -> String {
        format!("{:016x}", self.0.hash_one(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_within_a_process_and_small_enough() {
        let ids = Ids::new(RandomState::new());
        assert_eq!(ids.block(7), ids.block(7));
        assert_ne!(ids.block(7), ids.block(8));
        assert!((0..1_000).all(|hash| ids.block(hash) < 1 << 53));
        assert_eq!(ids.name("s"), ids.name("s"));
        assert_ne!(ids.name("s"), ids.name("t"));
        assert_eq!(ids.model("s"), ids.name("s"));
        assert_eq!(
            ids.model("default"),
            "default",
            "a replay takes it for what it is"
        );
    }

    #[test]
    fn another_key_gives_other_ids() {
        let [one, two] = [(); 2].map(|()| Ids::new(RandomState::new()));
        assert_ne!(one.block(7), two.block(7));
        assert_ne!(one.name("s"), two.name("s"));
    }
}
