//! Several routers before the same engines, each with a scheduler of its own.
//!
//! A balancer sends each request to any of them. What a router has in hand, and what it recorded, is with the others
//! [`Exchange::staleness`] after the end of a [`ROUND`].

use std::collections::VecDeque;

use fd_router_core::scheduler::Held;

use crate::chooser::{Ask, Chooser, Ended, Pick, Role, Ticket};
use crate::fleet::Fleet;
use crate::router::{SchedulerChooser, Setup, spread};

/// Microseconds between two posts of a router.
const ROUND: u64 = 50_000;
/// Memory for sharing prefixes, in bytes.
const SHARED: usize = 64 << 20;

/// How routers hear of each other.
#[derive(Debug, Clone, Copy)]
pub struct Exchange {
    /// Routers.
    pub routers: usize,
    /// Microseconds until what one posts is with the others.
    pub staleness: u64,
    /// Whether they tell each other what they have in hand.
    pub loads: bool,
    /// Whether they tell each other of prefixes.
    pub prefixes: bool,
    /// Whether each has an order of its own among workers that cost nearly the same.
    pub named: bool,
}

impl Exchange {
    /// As replicas of the router do it.
    pub const fn new(routers: usize, staleness: u64) -> Self {
        Self {
            routers,
            staleness,
            loads: true,
            prefixes: true,
            named: true,
        }
    }
}

/// The routers as one chooser.
#[derive(Debug)]
pub struct Routers {
    all: Vec<SchedulerChooser>,
    exchange: Exchange,
    seed: u64,
    /// Who chose, by ticket.
    chose: Vec<usize>,
    post: VecDeque<Post>,
    /// When the next round ends.
    round_at: u64,
}

/// Something on its way to the others.
#[derive(Debug)]
struct Post {
    arrives: u64,
    from: usize,
    what: What,
}

#[derive(Debug)]
enum What {
    Loads(Vec<(String, Held)>),
    Prefixes(Vec<u8>),
}

impl Routers {
    /// Routers in front of `fleet`, for a trace whose blocks have `block_size` tokens.
    pub fn new(setup: &Setup, exchange: Exchange, fleet: &Fleet, block_size: usize) -> Self {
        let router = |number: usize| {
            let name = exchange.named.then(|| name(number));
            let router = SchedulerChooser::named(setup, fleet, block_size, name.as_deref());
            if exchange.prefixes && exchange.routers > 1 {
                router.scheduler().share(SHARED);
            }
            router
        };
        Self {
            all: (0..exchange.routers.max(1)).map(router).collect(),
            exchange,
            seed: setup.seed,
            chose: Vec::new(),
            post: VecDeque::new(),
            round_at: ROUND,
        }
    }

    /// The routers, to be asked what they know.
    pub fn routers(&self) -> &[SchedulerChooser] {
        &self.all
    }

    /// Ends the round if it is over, and delivers what has arrived.
    fn keep_up(&mut self, now: u64) {
        if now >= self.round_at {
            for from in 0..self.all.len() {
                self.send_loads(from);
                while let Some(batch) = self.all[from].scheduler().take_recorded(1 << 16) {
                    self.send(from, self.round_at, What::Prefixes(batch));
                }
            }
            self.round_at = now - now % ROUND + ROUND;
        }
        while self.post.front().is_some_and(|post| post.arrives <= now) {
            if let Some(post) = self.post.pop_front() {
                self.deliver(&post);
            }
        }
    }

    fn send_loads(&mut self, from: usize) {
        if self.exchange.loads && self.all.len() > 1 {
            let scheduler = self.all[from].scheduler();
            let loads = scheduler.own_loads(self.round_at / 1_000);
            self.send(from, self.round_at, What::Loads(loads));
        }
    }

    fn send(&mut self, from: usize, now: u64, what: What) {
        let arrives = now + self.exchange.staleness;
        self.post.push_back(Post {
            arrives,
            from,
            what,
        });
    }

    fn deliver(&self, post: &Post) {
        let others = self.all.iter().enumerate();
        for (_, router) in others.filter(|(number, _)| *number != post.from) {
            let scheduler = router.scheduler();
            match &post.what {
                What::Loads(loads) => {
                    scheduler.tell_foreign(&name(post.from), loads);
                }
                What::Prefixes(batch) => {
                    scheduler.apply_recorded(batch, post.arrives / 1_000, |_| ());
                }
            }
        }
    }

    /// Whom the balancer sends a request to: both legs of it to the same.
    fn balance(&self, request: usize) -> usize {
        let drawn = spread(spread(self.seed) ^ request as u64);
        (drawn % self.all.len() as u64) as usize
    }
}

fn name(number: usize) -> String {
    format!("router-{number}")
}

impl Chooser for Routers {
    fn choose(&mut self, role: Role, ask: &Ask<'_>, ticket: Ticket, now: u64) -> Pick {
        self.keep_up(now);
        let router = self.balance(ask.request);
        self.chose.push(router);
        self.all[router].choose(role, ask, ticket, now)
    }

    fn first_byte(&mut self, ticket: Ticket, now: u64) {
        self.keep_up(now);
        let router = self.chose[ticket];
        self.all[router].first_byte(ticket, now);
    }

    fn end(&mut self, ticket: Ticket, ended: &Ended, now: u64) {
        self.keep_up(now);
        let router = self.chose[ticket];
        self.all[router].end(ticket, ended, now);
    }
}
