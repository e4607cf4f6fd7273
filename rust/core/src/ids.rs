//! Names of things: roles of workers, slots of workers in the prefix tree.

use std::fmt;
use std::str::FromStr;

/// What a worker serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Prompt and answer on one worker.
    Mixed,
    /// The prompt only; a decode worker goes on from its KV cache.
    Prefill,
    /// The answer only.
    Decode,
}

impl Role {
    /// Every role, in the order of [`Role::index`].
    pub const ALL: [Self; 3] = [Self::Mixed, Self::Prefill, Self::Decode];

    /// The name on the wire, in lower case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mixed => "mixed",
            Self::Prefill => "prefill",
            Self::Decode => "decode",
        }
    }

    /// Position in arrays that hold one thing per role.
    pub(crate) const fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that no role has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownRole(String);

impl fmt::Display for UnknownRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown role {:?}: use mixed, prefill or decode", self.0)
    }
}

impl std::error::Error for UnknownRole {}

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(name: &str) -> Result<Self, UnknownRole> {
        Self::ALL
            .into_iter()
            .find(|role| role.name() == name)
            .ok_or_else(|| UnknownRole(name.to_owned()))
    }
}

/// A worker's bit in the holder sets of the prefix tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Slot(u16);

impl Slot {
    /// Slots that a tree can hand out: the bound on workers with prefix credit at one time.
    pub const LIMIT: usize = 4_096;

    pub(crate) const fn new(index: u16) -> Self {
        Self(index)
    }

    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }

    /// Word of a bitset that has the slot's bit.
    pub(crate) const fn word(self) -> usize {
        self.0 as usize / 64
    }

    /// The slot's bit within its word.
    pub(crate) const fn bit(self) -> u64 {
        1 << (self.0 % 64)
    }
}
