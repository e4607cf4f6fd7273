//! Who chooses in a run: a rule of another router, or fd-router's own scheduler.

use fd_router_core::policy::{Policy, Settings};
use fd_router_simulate::{
    Feedback, Fleet, NoSuchWorker, Record, SchedulerChooser, Setup, Trace, simulate,
};

use crate::router::Router;
use crate::rules::Kind;

/// One row of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Contender {
    /// A rule with an index of its own that knows no capacity.
    Rule(Kind),
    /// `least_work` of fd-router.
    LeastWork(Knows),
}

/// What fd-router knows of caches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Knows {
    /// Their sizes, and what engines say with each answer.
    Both,
    /// Their sizes.
    Told,
    /// What engines say with each answer.
    Learned,
    /// Nothing.
    Nothing,
}

impl Contender {
    /// All of them, those of other routers first.
    pub(crate) fn all() -> Vec<Self> {
        let rules = Kind::ALL.iter().map(|&kind| Self::Rule(kind));
        rules.chain(Knows::ALL.map(Self::LeastWork)).collect()
    }

    /// Whether it is fd-router's.
    pub(crate) const fn is_ours(self) -> bool {
        matches!(self, Self::LeastWork(_))
    }

    /// How the tables name it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Rule(kind) => kind.name(),
            Self::LeastWork(knows) => knows.name(),
        }
    }

    /// Runs it.
    pub(crate) fn run(self, trace: &Trace, fleet: &Fleet) -> Result<Vec<Record>, NoSuchWorker> {
        match self {
            Self::Rule(kind) => {
                let mut router = Router::new(kind, fleet.workers());
                simulate(trace, fleet, &mut router, |_| ())
            }
            Self::LeastWork(knows) => {
                let mut chooser = SchedulerChooser::new(&setup(knows), fleet, trace.block_size);
                simulate(trace, fleet, &mut chooser, |_| ())
            }
        }
    }
}

impl Knows {
    pub(crate) const ALL: [Self; 4] = [Self::Both, Self::Told, Self::Learned, Self::Nothing];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Both => "least_work, told, learns",
            Self::Told => "least_work, told",
            Self::Learned => "least_work, learns",
            Self::Nothing => "least_work, blind",
        }
    }

    const fn feedback(self) -> Feedback {
        Feedback {
            told: matches!(self, Self::Both | Self::Told),
            learned: matches!(self, Self::Both | Self::Learned),
        }
    }
}

/// fd-router as it is set up by default.
pub(crate) const fn setup(knows: Knows) -> Setup {
    Setup {
        policy: Policy::LeastWork,
        decode_policy: Policy::LeastWork,
        settings: Settings {
            balance_abs_threshold: 1.0,
            balance_rel_threshold: 0.2,
            hit_ratio_weight: 1.0,
            load_balance_weight: 1.0,
            waiting_weight: 1.0,
            metrics_max_age: 3_000,
            copy_cost: 0.6,
            base_running: 32.0,
        },
        cache_max_bytes: 512 << 20,
        idle_limit: 30 * 60 * 1_000,
        seed: 1,
        feedback: knows.feedback(),
    }
}
