//! Engines by name, for who has none of their own to describe.

use std::str::FromStr;

use crate::fleet::{Batching, Engine, Model, Serial};

/// Prompt tokens that an engine of a profile caches, unless said otherwise.
pub const CACHE_TOKENS: usize = 1 << 20;

/// Microseconds from a prompt's end to its KV being at the decode engine.
pub const HANDOVER: u64 = 3_000;

/// How many times as long everything takes on the slower half of [`Profile::Mixed`].
const SLOWER: f64 = 2.0;

/// Tokens that [`Profile::Serial`] computes in [`SERIAL_MICROS`].
const SERIAL_TOKENS: u64 = 512;

/// See [`SERIAL_TOKENS`].
const SERIAL_MICROS: u64 = 60_000;

/// Engines of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// [`Batching`] as it is by default.
    Batching,
    /// [`Serial`]: 1 ms a prompt, 60 ms for 512 of its tokens, 10 ms a token of the answer.
    Serial,
    /// [`Batching`], every second engine half as fast.
    Mixed,
}

/// A name that no profile has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown engine profile {0:?}")]
pub struct UnknownProfile(String);

impl Profile {
    /// Every profile.
    pub const ALL: [Self; 3] = [Self::Batching, Self::Serial, Self::Mixed];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Batching => "batching",
            Self::Serial => "serial",
            Self::Mixed => "mixed",
        }
    }

    /// So many engines, for a trace whose blocks have `block_size` tokens.
    pub fn engines(self, count: usize, cache_blocks: usize, block_size: usize) -> Vec<Engine> {
        let model = match self {
            Self::Batching | Self::Mixed => Model::Batching(Batching::default()),
            Self::Serial => Model::Serial(Serial {
                base: 1_000,
                block: (SERIAL_MICROS * block_size as u64).div_ceil(SERIAL_TOKENS),
                token: 10_000,
            }),
        };
        let engine = Engine::new(model, cache_blocks);
        let slow = |place: usize| self == Self::Mixed && place % 2 == 1;
        (0..count)
            .map(|place| {
                let engine = engine.clone();
                if slow(place) {
                    engine.slower(SLOWER)
                } else {
                    engine
                }
            })
            .collect()
    }
}

impl FromStr for Profile {
    type Err = UnknownProfile;

    fn from_str(name: &str) -> Result<Self, UnknownProfile> {
        let mut all = Self::ALL.into_iter();
        all.find(|profile| profile.name() == name)
            .ok_or_else(|| UnknownProfile(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_second_engine_of_mixed_is_slower() {
        let engines = Profile::Mixed.engines(5, 9, 512);
        let slowdowns: Vec<f64> = engines.iter().map(|engine| engine.slowdown).collect();
        assert_eq!(slowdowns, [1.0, 2.0, 1.0, 2.0, 1.0]);
    }

    #[test]
    fn serial_takes_as_long_by_token_whatever_the_block() {
        let block = |size| match Profile::Serial.engines(1, 9, size)[0].model {
            Model::Serial(serial) => serial.block,
            Model::Batching(_) => 0,
        };
        assert_eq!([block(512), block(16)], [60_000, 1_875]);
    }

    #[test]
    fn names_are_read_back() {
        for profile in Profile::ALL {
            assert_eq!(profile.name().parse(), Ok(profile));
        }
        assert!("fast".parse::<Profile>().is_err());
    }
}
