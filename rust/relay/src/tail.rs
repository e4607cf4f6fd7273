//! The end of a body that is passed on piece by piece.
//!
//! Copied, and not kept as references to the chunks: those share the buffer that hyper reads into. It is used again only
//! when nobody holds a piece of it, so that a stream that keeps its last chunks costs a new buffer of 8 KiB at each
//! read, and holds several of them. A copy is the chunk's few hundred bytes, into memory that is warm, and its bound
//! does not depend on where the chunks end.

/// Bytes of a streamed body that are kept. The event with the usage has some 600, the one after it 14.
pub(crate) const KEPT: usize = 2 * 1024;

/// The last bytes of what was pushed.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    /// Up to twice of what is kept, so that it moves to the front only now and then.
    bytes: Vec<u8>,
}

impl Tail {
    pub(crate) fn push(&mut self, data: &[u8]) {
        let data = last(data, KEPT);
        let length = self.bytes.len();
        if length + data.len() > 2 * KEPT {
            let kept = KEPT - data.len();
            self.bytes.copy_within(length - kept.., 0);
            self.bytes.truncate(kept);
        }
        self.bytes.extend_from_slice(data);
    }

    /// At most `KEPT` bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        last(&self.bytes, KEPT)
    }
}

/// The last `length` bytes, or all.
pub(crate) fn last(bytes: &[u8], length: usize) -> &[u8] {
    &bytes[bytes.len().saturating_sub(length)..]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_the_end_of_all_however_it_was_cut(
            lengths in prop::collection::vec(
                prop_oneof![0..8_usize, 0..700_usize, 0..3 * KEPT],
                0..40,
            ),
        ) {
            let (mut tail, mut whole) = (Tail::default(), Vec::new());
            for length in lengths {
                let chunk: Vec<u8> = (0..length).map(|at| (whole.len() + at) as u8).collect();
                tail.push(&chunk);
                whole.extend(chunk);
                prop_assert_eq!(tail.bytes(), last(&whole, KEPT));
                prop_assert!(tail.bytes.len() <= 2 * KEPT);
            }
        }
    }
}
