//! The list of all nodes by their last record, linked through the slab.

use super::slab::{NIL, NodeId, Slab};

impl Slab {
    /// Puts a node outside the list right behind `front`, or first if that is [`NIL`].
    pub(super) fn link_behind(&mut self, front: NodeId, id: NodeId) {
        let behind = if front == NIL {
            self.newest
        } else {
            self.node(front).older
        };
        self.join(front, id);
        self.join(id, behind);
        // What was split off a node that is still to be copied is so too.
        if front != NIL && self.cursor == front {
            self.cursor = id;
        }
    }

    /// Takes a node out of the list.
    pub(super) fn unlink(&mut self, id: NodeId) {
        let (newer, older) = (self.node(id).newer, self.node(id).older);
        if self.cursor == id {
            self.cursor = newer;
        }
        self.join(newer, older);
    }

    /// Makes a node the first of the list.
    pub(super) fn bring_to_front(&mut self, id: NodeId) {
        if self.newest != id {
            self.unlink(id);
            self.link_behind(NIL, id);
        }
    }

    /// Moves the node at `from` to the place `to`, whose node must be outside the list; `from` is then a hole.
    pub(super) fn relocate(&mut self, from: NodeId, to: NodeId) {
        let (newer, older) = (self.node(from).newer, self.node(from).older);
        self.move_node(from, to);
        if self.cursor == from {
            self.cursor = to;
        }
        self.join(newer, to);
        self.join(to, older);
    }

    /// Makes two nodes neighbours; [`NIL`] stands for the end of the list on its side.
    fn join(&mut self, newer: NodeId, older: NodeId) {
        if newer == NIL {
            self.newest = older;
        } else {
            self.node_mut(newer).older = older;
        }
        if older == NIL {
            self.oldest = newer;
        } else {
            self.node_mut(older).newer = newer;
        }
    }
}
