//! What a tree reports of itself.

/// A snapshot of the prefix tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TreeStats {
    /// Blocks recorded now.
    pub blocks: u64,
    /// Nodes in use.
    pub nodes: u64,
    /// Memory held, tables included.
    pub bytes: u64,
    /// Blocks dropped for space since the start.
    pub evicted: u64,
    /// Blocks dropped for age since the start.
    pub expired: u64,
}
