//! Lines between many callers and one writer.
//!
//! Lines are appended to large pieces as they come, so that taking them costs nothing for each. A piece holds lines of
//! one destination: of one day, and, where errors go elsewhere, of one kind.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;

/// Bytes from which on a piece is full.
const PIECE: usize = 64 * 1024;

/// What a queue holds at the most; what comes on top is dropped and counted.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Lines.
    pub lines: usize,
    /// Bytes of all lines.
    pub bytes: usize,
}

/// Whole lines for one destination.
#[derive(Debug, PartialEq, Eq)]
pub struct Piece {
    /// The local date in the lines.
    pub day: Arc<str>,
    /// Whether these are errors; false for all where errors are not kept apart.
    pub errors: bool,
    /// The lines, each with its end.
    pub data: Vec<u8>,
    /// How many.
    pub lines: usize,
}

/// A bounded queue of lines.
#[derive(Debug)]
pub struct LineQueue {
    limits: Limits,
    errors_apart: bool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    pieces: VecDeque<Piece>,
    lines: usize,
    bytes: usize,
    dropped: u64,
    closed: bool,
}

impl LineQueue {
    /// An empty queue. `errors_apart` keeps errors in pieces of their own.
    pub fn new(limits: Limits, errors_apart: bool) -> Self {
        Self {
            limits,
            errors_apart,
            state: Mutex::default(),
        }
    }

    /// Queues the line that `write` appends, or counts it as dropped.
    pub fn put(&self, day: &Arc<str>, error: bool, write: impl FnOnce(&mut Vec<u8>)) {
        let errors = error && self.errors_apart;
        let mut state = self.state.lock();
        if state.closed || state.lines >= self.limits.lines || state.bytes >= self.limits.bytes {
            state.dropped += 1;
            return;
        }
        let size = {
            let piece = state.piece(day, errors);
            let before = piece.data.len();
            write(&mut piece.data);
            piece.lines += 1;
            piece.data.len() - before
        };
        state.lines += 1;
        state.bytes += size;
    }

    /// The oldest piece.
    pub fn take(&self) -> Option<Piece> {
        let mut state = self.state.lock();
        let piece = state.pieces.pop_front()?;
        state.lines -= piece.lines;
        state.bytes -= piece.data.len();
        Some(piece)
    }

    /// Pieces that are queued.
    pub fn len(&self) -> usize {
        self.state.lock().pieces.len()
    }

    /// Whether nothing is queued.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Lines that were dropped.
    pub fn dropped(&self) -> u64 {
        self.state.lock().dropped
    }

    /// Drops what is queued and whatever comes later.
    pub fn close(&self) {
        let mut state = self.state.lock();
        state.dropped += state.lines as u64;
        *state = State {
            dropped: state.dropped,
            closed: true,
            ..State::default()
        };
    }

    /// Begins anew, without lines and counts.
    pub fn reset(&self) {
        *self.state.lock() = State::default();
    }
}

impl State {
    /// The piece that the next line goes to.
    fn piece(&mut self, day: &Arc<str>, errors: bool) -> &mut Piece {
        let fits = self.pieces.back().is_some_and(|piece| {
            piece.errors == errors && piece.day == *day && piece.data.len() < PIECE
        });
        if fits && let Some(index) = self.pieces.len().checked_sub(1) {
            return &mut self.pieces[index];
        }
        self.pieces.push_back_mut(Piece {
            day: Arc::clone(day),
            errors,
            data: Vec::new(),
            lines: 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIDE: Limits = Limits {
        lines: 1_000_000,
        bytes: 100_000_000,
    };

    fn day(text: &str) -> Arc<str> {
        text.into()
    }

    fn put(queue: &LineQueue, day: &Arc<str>, error: bool, text: &str) {
        queue.put(day, error, |line| {
            line.extend_from_slice(text.as_bytes());
            line.push(b'\n');
        });
    }

    fn drain(queue: &LineQueue) -> Vec<(String, bool, String, usize)> {
        std::iter::from_fn(|| queue.take())
            .map(|piece| {
                let text = String::from_utf8(piece.data).unwrap();
                (piece.day.to_string(), piece.errors, text, piece.lines)
            })
            .collect()
    }

    #[test]
    fn lines_of_one_destination_are_one_piece() {
        let queue = LineQueue::new(WIDE, true);
        let (one, two) = (day("1"), day("2"));
        for (day, error, text) in [
            (&one, false, "a"),
            (&one, false, "b"),
            (&one, true, "c"),
            (&one, false, "d"),
            (&two, false, "e"),
        ] {
            put(&queue, day, error, text);
        }
        let piece =
            |day: &str, errors, text: &str, lines| (day.to_owned(), errors, text.to_owned(), lines);
        assert_eq!(
            drain(&queue),
            [
                piece("1", false, "a\nb\n", 2),
                piece("1", true, "c\n", 1),
                piece("1", false, "d\n", 1),
                piece("2", false, "e\n", 1),
            ]
        );
        assert!(queue.is_empty());
    }

    #[test]
    fn errors_stay_in_order_where_they_go_to_the_same_place() {
        let queue = LineQueue::new(WIDE, false);
        let day = day("1");
        put(&queue, &day, false, "a");
        put(&queue, &day, true, "b");
        assert_eq!(
            drain(&queue),
            [("1".to_owned(), false, "a\nb\n".to_owned(), 2)]
        );
    }

    #[test]
    fn pieces_are_bounded() {
        let queue = LineQueue::new(WIDE, false);
        let day = day("1");
        let text = "x".repeat(999);
        for _ in 0..1000 {
            put(&queue, &day, false, &text);
        }
        let pieces = drain(&queue);
        assert!(pieces.iter().all(|piece| piece.2.len() < PIECE + 1000));
        assert_eq!(pieces.iter().map(|piece| piece.3).sum::<usize>(), 1000);
        assert!(pieces.len() > 10);
    }

    #[test]
    fn what_does_not_fit_is_dropped_and_counted() {
        let day = day("1");
        for limits in [Limits { lines: 3, ..WIDE }, Limits { bytes: 6, ..WIDE }] {
            let queue = LineQueue::new(limits, false);
            for _ in 0..5 {
                put(&queue, &day, false, "a");
            }
            assert_eq!(queue.dropped(), 2);
            assert_eq!(drain(&queue)[0].3, 3);
            put(&queue, &day, false, "b");
            assert_eq!(drain(&queue)[0].2, "b\n");
        }
    }

    #[test]
    fn a_closed_queue_counts_what_it_held_and_what_comes() {
        let queue = LineQueue::new(WIDE, false);
        let day = day("1");
        put(&queue, &day, false, "a");
        queue.close();
        put(&queue, &day, false, "b");
        assert_eq!((queue.dropped(), queue.take()), (2, None));
        queue.reset();
        put(&queue, &day, false, "c");
        assert_eq!((queue.dropped(), queue.is_empty()), (0, false));
    }
}
