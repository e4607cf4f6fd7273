//! Names of things: roles of workers, slots of workers in the prefix tree.

use strum::VariantArray;

/// What a worker serves.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    strum::Display,
    strum::EnumString,
    strum::IntoStaticStr,
    VariantArray,
)]
#[strum(
    serialize_all = "lowercase",
    parse_err_ty = UnknownRole,
    parse_err_fn = UnknownRole::new
)]
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
    pub const ALL: &[Self] = Self::VARIANTS;

    /// The name on the wire, in lower case.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// Position in arrays that hold one thing per role.
    pub(crate) const fn index(self) -> usize {
        self as usize
    }
}

/// A name that no role has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown role {0:?}: use mixed, prefill or decode")]
pub struct UnknownRole(String);

impl UnknownRole {
    fn new(name: &str) -> Self {
        Self(name.to_owned())
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
