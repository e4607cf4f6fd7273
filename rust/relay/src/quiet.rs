//! A waker that is deaf to what a task does to itself.
//!
//! hyper's connection and its body tell each other through wakers when a chunk is passed on or taken. Both are polled
//! by one task, which polls the connection again before it sleeps in any case; to be woken for that would make it run
//! twice for each chunk. Wake-ups from the socket and from other threads pass.

use std::cell::Cell;
use std::sync::Arc;
use std::task::{Wake, Waker};

thread_local! {
    static DEAF: Cell<bool> = const { Cell::new(false) };
}

struct Quiet(Waker);

impl Wake for Quiet {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !DEAF.get() {
            self.0.wake_by_ref();
        }
    }
}

/// The quiet form of a task's waker, kept while the task stays the same.
#[derive(Default)]
pub(crate) struct QuietWaker(Option<(Waker, Waker)>);

impl QuietWaker {
    pub(crate) fn of(&mut self, task: &Waker) -> &Waker {
        let known = self.0.take().filter(|(known, _)| known.will_wake(task));
        let (_, quiet) = self.0.insert(
            known.unwrap_or_else(|| (task.clone(), Waker::from(Arc::new(Quiet(task.clone()))))),
        );
        quiet
    }
}

/// Runs `step`, during which this thread's wake-ups of quiet wakers go unheard.
pub(crate) fn unheard<T>(step: impl FnOnce() -> T) -> T {
    let _deaf = Deaf::new();
    step()
}

/// Ends also when the step panics: the thread goes on with other tasks.
struct Deaf;

impl Deaf {
    fn new() -> Self {
        DEAF.set(true);
        Self
    }
}

impl Drop for Deaf {
    fn drop(&mut self) {
        DEAF.set(false);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn only_the_same_thread_goes_unheard() {
        let count = Arc::new(Count::default());
        let mut quiet = QuietWaker::default();
        let waker = quiet.of(&Waker::from(Arc::clone(&count))).clone();
        unheard(|| waker.wake_by_ref());
        assert_eq!(count.0.load(Ordering::SeqCst), 0);
        unheard(|| {
            let waker = waker.clone();
            std::thread::spawn(move || waker.wake()).join().unwrap();
        });
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
        waker.wake();
        assert_eq!(count.0.load(Ordering::SeqCst), 2);
    }
}
