//! The tree's invariants, for tests.

use super::Tree;
use super::slab::{EDGE, NIL, NodeId};

impl Tree {
    /// Panics where an invariant does not hold.
    pub(crate) fn check(&self) {
        let count = self.slab.len();
        let mut newer = NIL;
        let mut id = self.slab.newest;
        let mut stamp = u64::MAX;
        let mut blocks = 0;
        for _ in 0..count {
            let node = self.slab.node(id);
            assert_eq!(node.newer, newer, "list links agree");
            assert!(node.stamp <= stamp, "the list is ordered by last record");
            assert!(
                (1..=EDGE).contains(&node.hashes().len()),
                "edges are neither empty nor too long"
            );
            assert_eq!(
                self.table.find(node.key(), |found| found == id),
                Some(id),
                "the table knows every node"
            );
            let key = node.key();
            let first = self
                .table
                .find(key, |found| self.slab.node(found).key() == key);
            assert_eq!(first, Some(id), "a key names one node");
            blocks += node.hashes().len() as u64;
            (newer, stamp, id) = (id, node.stamp, node.older);
        }
        assert_eq!(id, NIL, "the list ends after every node");
        assert_eq!(self.slab.oldest, newer, "the end of the list is known");
        assert_eq!(self.table.used(), count, "the table knows nothing else");
        assert_eq!(self.blocks, blocks, "blocks are counted");
        assert_eq!(
            self.clocks.any_unsure(),
            self.clocks.count_unsure() > 0,
            "unsure slots are counted"
        );
        let with_row = (0..count).filter(|&id| self.slab.node(id as NodeId).row != NIL);
        assert_eq!(self.slab.rows.used(), with_row.count(), "no row is lost");
        assert!(
            self.bytes() <= self.capacity,
            "{} bytes of {}",
            self.bytes(),
            self.capacity
        );
    }

    /// Nodes with a row of holders.
    pub(super) fn rows(&self) -> usize {
        self.slab.rows.used()
    }

    /// Nodes, for tests that want to see the shape.
    pub(super) fn node_count(&self) -> NodeId {
        self.slab.len() as NodeId
    }
}
