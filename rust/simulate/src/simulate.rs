//! The run: one queue of events, the chooser, the engines.

use crate::chooser::{Ask, Chooser, Ended, Outcome, Role, Ticket};
use crate::engine::{self, Job, Kind, News, Part, Runs};
use crate::fleet::{Engine, Fleet};
use crate::queue::{Event, Queue};
use crate::record::Record;
use crate::trace::{Arrival, Trace};

/// A chooser named a worker that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("worker {worker} was chosen, of {count}")]
pub struct NoSuchWorker {
    /// The position that was named.
    pub worker: usize,
    /// Workers of the role.
    pub count: usize,
}

/// Runs `trace` on `fleet` with `chooser`, and calls `ended` with every record as its request is over.
///
/// Returns the records in the order of the ends.
pub fn simulate<C: Chooser + ?Sized>(
    trace: &Trace,
    fleet: &Fleet,
    chooser: &mut C,
    mut ended: impl FnMut(&Record),
) -> Result<Vec<Record>, NoSuchWorker> {
    let mut run = Run::new(trace, fleet, chooser);
    let mut news = Vec::new();
    let mut told = 0;
    while let Some((now, event)) = run.queue.pop() {
        run.happen(event, now, &mut news)?;
        for record in &run.records[told..] {
            ended(record);
        }
        told = run.records.len();
    }
    Ok(run.records)
}

struct Run<'t, 'c, C: ?Sized> {
    trace: &'t Trace,
    chooser: &'c mut C,
    /// Engines for prompts, then those for answers where these are others.
    engines: Vec<Box<dyn Runs<'t> + 't>>,
    /// When each engine is going to be woken.
    wakes: Vec<Option<u64>>,
    /// Engines for prompts, and for answers where these are others.
    counts: (usize, Option<usize>),
    handover: u64,
    queue: Queue,
    flights: Vec<Option<Flight>>,
    /// Requests that wait for the end of a request, by its position.
    followers: Vec<Vec<usize>>,
    tickets: Ticket,
    records: Vec<Record>,
}

/// A request under way.
struct Flight {
    record: Record,
    ticket: Ticket,
    decode: Option<Ticket>,
    /// Whether the first of two legs is over.
    prefilled: bool,
}

impl<'t, 'c, C: Chooser + ?Sized> Run<'t, 'c, C> {
    fn new(trace: &'t Trace, fleet: &Fleet, chooser: &'c mut C) -> Self {
        let none = Vec::new();
        let (first, second, handover) = match fleet {
            Fleet::Mixed(engines) => (engines, None, 0),
            Fleet::Disaggregated {
                prefill,
                decode,
                handover,
            } => (prefill, Some(decode), *handover),
        };
        let all = || first.iter().chain(second.unwrap_or(&none));
        let requests = trace.requests.len();
        let mut run = Self {
            trace,
            chooser,
            engines: all()
                .map(|engine| engine::build(engine, trace.block_size))
                .collect(),
            wakes: all().map(|_| None).collect(),
            counts: (first.len(), second.map(Vec::len)),
            handover,
            queue: Queue::default(),
            flights: std::iter::repeat_with(|| None).take(requests).collect(),
            followers: vec![Vec::new(); requests],
            tickets: 0,
            records: Vec::with_capacity(requests),
        };
        run.plan(all());
        run
    }

    /// Puts what is known beforehand into the queue.
    fn plan<'e>(&mut self, engines: impl Iterator<Item = &'e Engine>) {
        for (position, request) in self.trace.requests.iter().enumerate() {
            match request.arrival {
                Arrival::At(at) => self.queue.push(at, Event::Arrive { request: position }),
                Arrival::After { request, .. } => {
                    if let Some(followers) = self.followers.get_mut(request) {
                        followers.push(position);
                    }
                }
            }
        }
        for (engine, description) in engines.enumerate() {
            for change in &description.changes {
                let cache_blocks = change.cache_blocks;
                let event = Event::Resize {
                    engine,
                    cache_blocks,
                };
                self.queue.push(change.at, event);
            }
        }
    }

    fn happen(&mut self, event: Event, now: u64, news: &mut Vec<News>) -> Result<(), NoSuchWorker> {
        match event {
            Event::Resize {
                engine,
                cache_blocks,
            } => self.engines[engine].resize(cache_blocks),
            Event::Arrive { request } => self.arrive(request, now)?,
            Event::Handover { request } => self.hand_over(request, now),
            Event::Wake { engine } => {
                // A wake-up that the engine no longer wants is stale.
                if self.engines[engine].next() == Some(now) {
                    self.wakes[engine] = None;
                    self.engines[engine].wake(now, news);
                    for news in news.drain(..) {
                        self.take(engine, news, now);
                    }
                    self.arm(engine);
                }
            }
        }
        Ok(())
    }

    fn arrive(&mut self, position: usize, now: u64) -> Result<(), NoSuchWorker> {
        let request = &self.trace.requests[position];
        let (first_count, second_count) = self.counts;
        let role = second_count.map_or(Role::Mixed, |_| Role::Prefill);
        let (ticket, worker, predicted_tokens) = self.choose(role, first_count, position, now)?;
        // Both workers are chosen at once: the prefill engine has to know where its KV goes.
        let decode = second_count
            .map(|count| self.choose(Role::Decode, count, position, now))
            .transpose()?;
        self.flights[position] = Some(Flight {
            record: Record {
                request: position,
                worker,
                decode_worker: decode.map(|(_, worker, _)| worker),
                arrival: now,
                first: now,
                end: now,
                input_tokens: request.input_tokens,
                output_tokens: request.output_tokens,
                cached_tokens: 0,
                predicted_tokens,
                outcome: Outcome::Served,
            },
            ticket,
            decode: decode.map(|(ticket, ..)| ticket),
            prefilled: false,
        });
        let part = second_count.map_or(Part::Whole, |_| Part::Prefill);
        self.submit(worker, position, part, now);
        Ok(())
    }

    fn choose(
        &mut self,
        role: Role,
        count: usize,
        position: usize,
        now: u64,
    ) -> Result<(Ticket, usize, Option<usize>), NoSuchWorker> {
        let request = &self.trace.requests[position];
        let ask = Ask {
            request: position,
            blocks: &request.blocks,
            block_size: self.trace.block_size,
            input_tokens: request.input_tokens,
            session: request.session,
            streamed: request.streamed,
        };
        let ticket = self.tickets;
        self.tickets += 1;
        let pick = self.chooser.choose(role, &ask, ticket, now);
        if pick.worker < count {
            Ok((ticket, pick.worker, pick.predicted_tokens))
        } else {
            Err(NoSuchWorker {
                worker: pick.worker,
                count,
            })
        }
    }

    fn submit(&mut self, engine: usize, position: usize, part: Part, now: u64) {
        let job = Job {
            id: position,
            request: &self.trace.requests[position],
            part,
        };
        self.engines[engine].submit(job, now);
        self.arm(engine);
    }

    fn hand_over(&mut self, position: usize, now: u64) {
        let worker = self.flights[position]
            .as_ref()
            .and_then(|flight| flight.record.decode_worker);
        if let Some(worker) = worker {
            self.submit(self.counts.0 + worker, position, Part::Decode, now);
        }
    }

    /// Sees to it that an engine is woken when it wants to be.
    fn arm(&mut self, engine: usize) {
        let next = self.engines[engine].next();
        if next != self.wakes[engine] {
            self.wakes[engine] = next;
            if let Some(at) = next {
                self.queue.push(at, Event::Wake { engine });
            }
        }
    }

    fn take(&mut self, engine: usize, news: News, now: u64) {
        let Some(flight) = self.flights[news.id].as_mut() else {
            return;
        };
        match news.kind {
            Kind::FirstToken { cached_tokens } => {
                flight.record.first = now;
                flight.record.cached_tokens = cached_tokens;
                if self.trace.requests[news.id].streamed {
                    let ticket = flight.decode.unwrap_or(flight.ticket);
                    self.chooser.first_byte(ticket, now);
                }
            }
            Kind::Done if flight.decode.is_some() && engine < self.counts.0 => {
                self.prefilled(news.id, now);
            }
            Kind::Done => self.over(news.id, Outcome::Served, now),
            Kind::Refused => self.over(news.id, Outcome::Refused, now),
        }
    }

    /// The prefill engine is through; the answer goes on elsewhere, if there is more of it.
    fn prefilled(&mut self, position: usize, now: u64) {
        let Some(flight) = self.flights[position].as_mut() else {
            return;
        };
        if flight.record.output_tokens == 1 {
            self.over(position, Outcome::Served, now);
        } else {
            flight.prefilled = true;
            let (ticket, ended) = (flight.ticket, flight.ended(1, true));
            self.chooser.end(ticket, &ended, now);
            let at = now + self.handover;
            self.queue.push(at, Event::Handover { request: position });
        }
    }

    fn over(&mut self, position: usize, outcome: Outcome, now: u64) {
        let Some(mut flight) = self.flights[position].take() else {
            return;
        };
        flight.record.end = now;
        flight.record.outcome = outcome;
        if outcome == Outcome::Refused {
            flight.record.output_tokens = 0;
        }
        let tokens = flight.record.output_tokens;
        if !flight.prefilled {
            let ended = flight.ended(tokens, true);
            self.chooser.end(flight.ticket, &ended, now);
        }
        if let Some(ticket) = flight.decode {
            let ended = flight.ended(tokens.saturating_sub(1), false);
            self.chooser.end(ticket, &ended, now);
        }
        self.records.push(flight.record);
        for follower in std::mem::take(&mut self.followers[position]) {
            if let Arrival::After { delay, .. } = self.trace.requests[follower].arrival {
                let event = Event::Arrive { request: follower };
                self.queue.push(now + delay, event);
            }
        }
    }
}

impl Flight {
    fn ended(&self, output_tokens: usize, prompt: bool) -> Ended {
        Ended {
            prompt_tokens: self.record.input_tokens,
            cached_tokens: prompt.then_some(self.record.cached_tokens),
            output_tokens,
            outcome: self.record.outcome,
        }
    }
}
