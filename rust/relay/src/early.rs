//! The first step of an exchange, taken by the thread that orders it.
//!
//! Handing a task to the runtime wakes the runtime's thread, which writes the request to its socket and sleeps again
//! until there is an answer. Where nothing is in the way of writing at once, the ordering thread polls the task itself,
//! a first time: hyper writes what the socket takes and leaves a waker with the socket and the timer. That waker gives
//! the task to the runtime. So the runtime's thread wakes once, when there is something to read, and nothing else is
//! different: the rest of a body that did not fit, a connection that turns out to be closed, limits and
//! cancellation are the same code in the same task.
//!
//! A task that waits belongs to its waker. Who has one wakes it in the end: the socket and the timer, a cancellation, and
//! the runtime's end, which wakes all that wait for it and drops what it is then given.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use parking_lot::Mutex;
use tokio::runtime::Handle;

use crate::exchange::Exchange;

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

enum Step {
    /// The first poll is under way.
    Polled,
    Waiting(Task),
    /// Woken; a task that was still polled then is handed over as soon as it is not.
    Woken,
}

struct Early<S> {
    exchange: Arc<Exchange<S>>,
    handle: Handle,
    step: Mutex<Step>,
}

/// Polls the task of an exchange once; the runtime has the rest of it.
pub(crate) fn run<S: Send + Sync + 'static>(
    exchange: &Arc<Exchange<S>>,
    handle: &Handle,
    task: impl Future<Output = ()> + Send + 'static,
) {
    let mut task: Task = Box::pin(task);
    let early = Arc::new(Early {
        exchange: Arc::clone(exchange),
        handle: handle.clone(),
        step: Mutex::new(Step::Polled),
    });
    let waker = Waker::from(Arc::clone(&early));
    exchange.set_early(waker.clone());
    let _runtime = handle.enter();
    let mut context = Context::from_waker(&waker);
    // As the runtime does it: a panic is reported by its hook and ends the exchange, not who ordered it.
    match catch_unwind(AssertUnwindSafe(|| task.as_mut().poll(&mut context))) {
        Ok(Poll::Pending) => early.leave(task),
        Ok(Poll::Ready(())) | Err(_) => exchange.over_early(),
    }
}

impl<S: Send + Sync + 'static> Early<S> {
    fn leave(&self, task: Task) {
        let mut step = self.step.lock();
        if matches!(*step, Step::Polled) {
            *step = Step::Waiting(task);
            return;
        }
        drop(step);
        self.hand_over(task);
    }

    fn hand_over(&self, task: Task) {
        self.exchange.over_early();
        if !self.exchange.has_ended() {
            let task = self.handle.spawn(task);
            self.exchange.set_task(task.abort_handle());
        }
    }
}

impl<S: Send + Sync + 'static> Wake for Early<S> {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Unlocked before the task is touched: one that is dropped wakes what it waited for.
        let step = std::mem::replace(&mut *self.step.lock(), Step::Woken);
        if let Step::Waiting(task) = step {
            self.hand_over(task);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use std::thread;
    use std::time::{Duration, Instant};

    use tokio::runtime::{Builder, Runtime};

    use super::*;
    use crate::completions::Completions;
    use crate::error::Kind;

    fn runtime() -> Runtime {
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(1).thread_name("runtime");
        builder.build().unwrap()
    }

    fn exchange() -> Arc<Exchange<()>> {
        Exchange::new((), Arc::new(Completions::new().unwrap()))
    }

    fn until(what: impl Fn() -> bool) {
        let limit = Instant::now() + Duration::from_secs(20);
        while !what() {
            assert!(Instant::now() < limit);
            thread::yield_now();
        }
    }

    /// What a task does: it notes the threads of its steps, ends at the step `last`, and notes when it is dropped.
    #[derive(Default)]
    struct Trace {
        threads: Mutex<Vec<Option<String>>>,
        waker: Mutex<Option<Waker>>,
        dropped: AtomicUsize,
    }

    struct Dropped(Arc<Trace>);

    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.dropped.fetch_add(1, SeqCst);
        }
    }

    impl Trace {
        fn task(self: &Arc<Self>, last: usize) -> impl Future<Output = ()> + Send + 'static {
            let dropped = Dropped(Arc::clone(self));
            poll_fn(move |cx| {
                let trace = &dropped.0;
                *trace.waker.lock() = Some(cx.waker().clone());
                let mut threads = trace.threads.lock();
                threads.push(thread::current().name().map(str::to_owned));
                if threads.len() == last {
                    Poll::Ready(())
                } else {
                    Poll::Pending
                }
            })
        }

        fn wake(&self) {
            let waker = self.waker.lock().take();
            waker.unwrap().wake();
        }

        fn dropped(&self) -> bool {
            self.dropped.load(SeqCst) == 1
        }
    }

    #[test]
    fn the_first_step_is_taken_here_and_the_next_by_the_runtime() {
        let (runtime, exchange, trace) = (runtime(), exchange(), Arc::new(Trace::default()));
        run(&exchange, runtime.handle(), trace.task(2));
        assert!(!trace.dropped());
        trace.wake();
        until(|| trace.dropped());
        let here = thread::current().name().map(str::to_owned);
        assert_eq!(*trace.threads.lock(), [here, Some("runtime".to_owned())]);
        drop(trace);
        assert_eq!(Arc::strong_count(&exchange), 1);
    }

    #[test]
    fn a_task_that_is_woken_in_its_first_step_goes_on() {
        let (runtime, exchange, trace) = (runtime(), exchange(), Arc::new(Trace::default()));
        let mut task = Box::pin(trace.task(2));
        let woken = poll_fn(move |cx| {
            cx.waker().wake_by_ref();
            task.as_mut().poll(cx)
        });
        run(&exchange, runtime.handle(), woken);
        until(|| trace.dropped());
    }

    #[test]
    fn a_task_that_ends_at_once_is_dropped() {
        let (runtime, exchange, trace) = (runtime(), exchange(), Arc::new(Trace::default()));
        run(&exchange, runtime.handle(), trace.task(1));
        assert!(trace.dropped());
    }

    #[test]
    fn a_cancelled_task_is_dropped_and_not_run() {
        let (runtime, exchange, trace) = (runtime(), exchange(), Arc::new(Trace::default()));
        run(&exchange, runtime.handle(), trace.task(2));
        exchange.cancel();
        assert!(trace.dropped());
        assert_eq!(trace.threads.lock().len(), 1);
        let Some(Err(failure)) = exchange.take_head() else {
            unreachable!()
        };
        assert_eq!(failure.kind, Kind::Cancelled);
    }

    #[test]
    fn a_task_that_is_woken_after_the_runtime_has_ended_is_dropped() {
        let (runtime, exchange, trace) = (runtime(), exchange(), Arc::new(Trace::default()));
        run(&exchange, runtime.handle(), trace.task(2));
        drop(runtime);
        trace.wake();
        assert!(trace.dropped());
    }

    #[test]
    fn a_panic_does_not_reach_who_ordered() {
        let (runtime, exchange, trace) = (runtime(), exchange(), Arc::new(Trace::default()));
        let dropped = Dropped(Arc::clone(&trace));
        run(&exchange, runtime.handle(), async move {
            let _dropped = dropped;
            panic!("on purpose");
        });
        assert!(trace.dropped());
    }
}
