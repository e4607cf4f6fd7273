//! Binding of the scheduler.

pub(crate) mod booking;
pub(crate) mod config;
pub(crate) mod lease;
mod recording;
mod snapshot;
mod stats;
mod story;
mod witnesses;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use fd_router_core::ids::Role;
use fd_router_core::policy::Policy;
use fd_router_core::scheduler::{
    ANY_MODEL, Decision, FOR_ENDPOINTS, HIT_BOUNDS, Load, NotServed, Options, Scheduler as Core,
    Standing,
};
use fd_router_core::share::MIN_LIMIT;
use fd_router_counts::answers::Answers as Counts;
use fd_router_explain::ring::{MAX_ANSWER, MAX_BYTES};
use fd_router_explain::{Chosen, Kept, Ring};
use fd_router_record::line::{Row, What, held, row};
use fd_router_record::{Asked, Entry, Tuned};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyMapping, PyTuple};
use strum::VariantNames;

use crate::answers::Answers;
use crate::journal::{Journal, Lines};
use crate::request::Request;

use self::booking::{Booking, Counted};
use self::config::Arguments;
use self::lease::Lease;
use self::recording::{Moment, Timeline};
use self::snapshot::SnapshotCopy;
use self::stats::{DecisionStats, TreeStats, TruthStats};
use self::witnesses::Witnesses;

/// Workers, their counters, the prefix tree and the policies.
#[pyclass(frozen, module = "fd_router._core")]
struct Scheduler {
    core: Arc<Core>,
    timeline: Timeline,
    /// The last decisions.
    ring: Arc<Ring>,
    /// Where decisions are told of.
    lines: Option<Arc<Lines>>,
    /// What counts the answers of those that are booked; None counts none.
    answers: Option<Arc<Counts>>,
}

#[pymethods]
impl Scheduler {
    #[new]
    #[pyo3(signature = (
        *,
        policies,
        block_size,
        cache_max_bytes,
        eviction_secs,
        balance_abs_threshold,
        balance_rel_threshold,
        hit_ratio_weight,
        load_balance_weight,
        waiting_weight,
        metrics_max_age_secs,
        copy_cost,
        base_running,
        seed,
        journal = None,
        record = None,
        replica = None,
        answers = None,
    ))]
    #[expect(
        clippy::too_many_arguments,
        reason = "the constructor takes the configuration by keyword"
    )]
    fn new(
        policies: &Bound<'_, PyMapping>,
        block_size: usize,
        cache_max_bytes: usize,
        eviction_secs: f64,
        balance_abs_threshold: f64,
        balance_rel_threshold: f64,
        hit_ratio_weight: f64,
        load_balance_weight: f64,
        waiting_weight: f64,
        metrics_max_age_secs: f64,
        copy_cost: f64,
        base_running: f64,
        seed: u64,
        journal: Option<&Bound<'_, Journal>>,
        record: Option<(PathBuf, u64, usize)>,
        replica: Option<&str>,
        answers: Option<&Bound<'_, Answers>>,
    ) -> PyResult<Self> {
        let arguments = Arguments {
            policies: policies.items()?.extract()?,
            block_size,
            cache_max_bytes,
            eviction_secs,
            balance_abs_threshold,
            balance_rel_threshold,
            hit_ratio_weight,
            load_balance_weight,
            waiting_weight,
            metrics_max_age_secs,
            copy_cost,
            base_running,
            seed,
        };
        let config = arguments.check().map_err(PyValueError::new_err)?;
        let tape = record.map(|record| recording::open(record, &config, replica));
        let core = Core::new(&config);
        Ok(Self {
            core: Arc::new(match replica {
                Some(replica) => core.named(replica),
                None => core,
            }),
            timeline: Timeline::new(tape.transpose()?),
            ring: Arc::new(Ring::new(MAX_BYTES)),
            lines: journal.map(|journal| Arc::clone(&journal.get().0)),
            answers: answers.map(|answers| Arc::clone(&answers.get().0)),
        })
    }

    fn add(&self, url: &str, role: &str) -> PyResult<()> {
        let known = role_of(role)?;
        let moment = self.timeline.moment();
        self.core.add(url, known);
        moment.told(|| What::Joined {
            worker: url.to_owned(),
            role: role.to_owned(),
        });
        Ok(())
    }

    #[expect(
        clippy::needless_pass_by_value,
        reason = "what is extracted from Python is owned"
    )]
    fn retune(&self, arguments: Arguments) -> PyResult<()> {
        let config = arguments.check().map_err(PyValueError::new_err)?;
        let moment = self.timeline.moment();
        self.core.retune(&config);
        moment.told(|| What::Tuned(Box::new(Tuned::new(&config))));
        Ok(())
    }

    fn remove(&self, url: &str) -> Option<(u64, u64)> {
        let moment = self.timeline.moment();
        let left = self.core.remove(url);
        moment.told(|| What::Left {
            worker: url.to_owned(),
        });
        left
    }

    #[pyo3(signature = (role, model = None))]
    fn count(&self, role: &str, model: Option<&str>) -> PyResult<usize> {
        Ok(self.core.count(role_of(role)?, model))
    }

    #[pyo3(signature = (url, models, *, others = false))]
    #[expect(
        clippy::needless_pass_by_value,
        reason = "what is extracted from Python is owned"
    )]
    fn tell_models(&self, url: &str, models: Option<Vec<String>>, others: bool) {
        let moment = self.timeline.moment();
        self.core.tell_models(url, models.as_deref(), others);
        if let Some(tape) = &self.timeline.tape {
            let ids =
                |models: &Vec<String>| models.iter().map(|name| tape.ids().model(name)).collect();
            moment.told(|| What::Serves {
                worker: url.to_owned(),
                models: models.as_ref().map(ids),
                others,
            });
        }
    }

    #[pyo3(
        signature = (role, request, *, tags = "", tokens = None, exclude = Vec::new(), model = None, beside = None),
        text_signature = "($self, role, request, *, tags='', tokens=None, exclude=(), model=None, beside=None)"
    )]
    #[expect(
        clippy::too_many_arguments,
        reason = "a choice is told all it goes by, by keyword"
    )]
    fn select(
        &self,
        py: Python<'_>,
        role: &str,
        request: &Bound<'_, Request>,
        tags: &str,
        tokens: Option<Vec<i64>>,
        exclude: Vec<String>,
        model: Option<String>,
        beside: Option<&str>,
    ) -> PyResult<Option<Lease>> {
        let role = role_of(role)?;
        let request = request.get();
        let options = Options {
            tokens,
            exclude,
            model,
        };
        let select = || self.choose(role, request, &options);
        let decision = if request.is_long() {
            py.detach(select)
        } else {
            select()
        };
        let decision = decision.map_err(|error| PyValueError::new_err(error.to_string()))?;
        Ok(decision.map(|(decision, witnesses)| {
            let booking = self.booking(decision, witnesses, request, beside);
            Lease::new(booking.told(py, self.lines.as_ref(), tags))
        }))
    }

    #[pyo3(
        signature = (role, exclude = Vec::new(), model = None),
        text_signature = "($self, role, exclude=(), model=None)"
    )]
    #[expect(
        clippy::needless_pass_by_value,
        reason = "what is extracted from Python is owned"
    )]
    fn left(
        &self,
        role: &str,
        exclude: Vec<String>,
        model: Option<&str>,
    ) -> PyResult<(usize, usize)> {
        Ok(self.core.left(role_of(role)?, model, &exclude))
    }

    fn tell_endpoints(&self, url: &str, endpoints: Vec<String>) {
        let moment = self.timeline.moment();
        self.core.tell_endpoints(url, endpoints.clone());
        moment.told(|| What::Endpoints {
            worker: url.to_owned(),
            endpoints,
        });
    }

    #[pyo3(
        signature = (endpoint, request, *, tags = "", exclude = Vec::new()),
        text_signature = "($self, endpoint, request, *, tags='', exclude=())"
    )]
    #[expect(
        clippy::needless_pass_by_value,
        reason = "what is extracted from Python is owned"
    )]
    fn select_for(
        &self,
        py: Python<'_>,
        endpoint: &str,
        request: &Bound<'_, Request>,
        tags: &str,
        exclude: Vec<String>,
    ) -> Option<Lease> {
        let request = request.get();
        let (decision, witnesses) = self.choose_for(endpoint, request, &exclude)?;
        let booking = self.booking(decision, witnesses, request, None);
        Some(Lease::new(booking.told(py, self.lines.as_ref(), tags)))
    }

    #[pyo3(
        signature = (endpoint, exclude = Vec::new(), model = None),
        text_signature = "($self, endpoint, exclude=(), model=None)"
    )]
    #[expect(
        clippy::needless_pass_by_value,
        reason = "what is extracted from Python is owned"
    )]
    fn left_for(
        &self,
        endpoint: &str,
        exclude: Vec<String>,
        model: Option<&str>,
    ) -> (usize, usize) {
        self.core.left_for(endpoint, model, &exclude)
    }

    fn stand(&self, url: &str, standing: &str) -> PyResult<()> {
        let known: Standing = standing.parse().map_err(|_| {
            let known = <Standing as VariantNames>::VARIANTS.join(", ");
            PyValueError::new_err(format!("unknown standing {standing:?}: use one of {known}"))
        })?;
        let moment = self.timeline.moment();
        self.core.stand(url, known);
        moment.told(|| What::Stands {
            worker: url.to_owned(),
            standing: standing.to_owned(),
        });
        Ok(())
    }

    fn forget_prefixes(&self, url: &str) {
        let moment = self.timeline.moment();
        self.core.forget_prefixes(url, moment.now);
        moment.told(|| What::Forgotten {
            worker: url.to_owned(),
        });
    }

    fn observe(&self, url: &str, running: f64, waiting: f64) {
        let moment = self.timeline.moment();
        self.core.observe(url, running, waiting, moment.now);
        moment.told(|| What::Observed {
            worker: url.to_owned(),
            running,
            waiting,
        });
    }

    fn loads(&self) -> Vec<(String, &'static str, u64, u64)> {
        let loads = self.core.loads().into_iter();
        loads
            .map(
                |Load {
                     url,
                     role,
                     running,
                     tokens,
                 }| (url, role.name(), running, tokens),
            )
            .collect()
    }

    fn own_loads(&self) -> Vec<Row> {
        let loads = self.core.own_loads(self.timeline.moment().now).into_iter();
        loads.map(|each| row(&each)).collect()
    }

    fn tell_foreign(&self, origin: &str, rows: Vec<Row>) -> usize {
        // A recording has no room for what is no number.
        let rows = rows.into_iter().map(held);
        let rows: Vec<_> = rows.map(|(url, held)| (url, held.bounded())).collect();
        let moment = self.timeline.moment();
        let lost = self.core.tell_foreign(origin, &rows);
        moment.told(|| What::Foreign {
            origin: origin.to_owned(),
            rows: rows.iter().map(row).collect(),
        });
        lost
    }

    fn take_loads<'py>(&self, py: Python<'py>, whole: bool) -> Option<Bound<'py, PyBytes>> {
        let message = self.core.take_loads(whole, self.timeline.moment().now)?;
        Some(PyBytes::new(py, &message))
    }

    fn apply_loads(&self, origin: &str, data: &[u8]) -> bool {
        let moment = self.timeline.moment();
        let applied = self.core.apply_loads(origin, data);
        if applied {
            moment.told(|| What::Foreign {
                origin: origin.to_owned(),
                rows: self.core.foreign(origin).iter().map(row).collect(),
            });
        }
        applied
    }

    fn running_elsewhere(&self) -> Vec<(String, u64)> {
        self.core.running_elsewhere()
    }

    fn share(&self, limit_bytes: usize) -> PyResult<()> {
        if limit_bytes > 0 && limit_bytes < MIN_LIMIT {
            let problem =
                format!("limit_bytes is {limit_bytes}: 0 or at least {MIN_LIMIT} is accepted");
            return Err(PyValueError::new_err(problem));
        }
        self.core.share(limit_bytes);
        Ok(())
    }

    fn sharing(&self) -> (usize, u64) {
        self.core.sharing()
    }

    fn take_recorded<'py>(&self, py: Python<'py>, max_bytes: usize) -> Option<Bound<'py, PyBytes>> {
        let batch = py.detach(|| self.core.take_recorded(max_bytes))?;
        Some(PyBytes::new(py, &batch))
    }

    fn apply_recorded(&self, py: Python<'_>, data: &[u8]) -> (u64, u64, u64) {
        let applied = py.detach(|| {
            let Moment { now, mut turn } = self.timeline.moment();
            self.core.apply_recorded(data, now, |heard| {
                if let (Some(turn), Some(tape)) = (&mut turn, &self.timeline.tape) {
                    turn.tell(now, What::heard(heard, tape.ids()));
                }
            })
        });
        (applied.applied, applied.unknown, applied.bad)
    }

    fn reap(&self) -> (Vec<String>, Vec<String>) {
        let moment = self.timeline.moment();
        let reaped = self.core.reap();
        if !reaped.removed.is_empty() {
            moment.told(|| What::Reaped);
        }
        (reaped.removed, reaped.preserved)
    }

    fn expire(&self) -> (u64, bool) {
        let moment = self.timeline.moment();
        let expired = self.core.expire(moment.now);
        moment.told(|| What::Expired);
        (expired.blocks, expired.more)
    }

    fn tell_capacity(&self, url: &str, tokens: f64) {
        let moment = self.timeline.moment();
        self.core.tell_capacity(url, tokens);
        moment.told(|| What::Capacity {
            worker: url.to_owned(),
            tokens,
        });
    }

    fn capacities(&self) -> Vec<(String, f64)> {
        self.core.capacities()
    }

    fn held(&self) -> Vec<(String, f64)> {
        self.core.held()
    }

    fn tell_start(&self, url: &str, secs: f64) -> bool {
        self.core.tell_start(url, secs)
    }

    fn copy(&self) -> SnapshotCopy {
        SnapshotCopy::begin(&self.core)
    }

    fn restore(&self, py: Python<'_>, snapshot: &[u8], wall_secs: f64) -> PyResult<(u64, usize)> {
        let now = self.timeline.moment().now;
        let wall = snapshot::millis(wall_secs);
        let restored = py.detach(|| self.core.restore(snapshot, now, wall));
        let restored = restored.map_err(|error| PyValueError::new_err(error.to_string()))?;
        Ok((restored.blocks, restored.workers))
    }

    fn settle(&self) {
        self.core.settle();
    }

    fn truth(&self) -> TruthStats {
        self.core.truth().into()
    }

    fn truths(&self) -> Vec<(String, TruthStats)> {
        let truths = self.core.truths().into_iter();
        truths.map(|(url, stats)| (url, stats.into())).collect()
    }

    fn tree(&self) -> TreeStats {
        self.core.tree().into()
    }

    fn nobody(&self, role: &str, request: &Bound<'_, Request>) -> PyResult<()> {
        let role = role_of(role)?;
        if let Some(policy) = self.core.policy(role) {
            let now = self.timeline.moment().now;
            self.tell(request.get(), role, policy, &mut None, &[], now);
        }
        Ok(())
    }

    fn last_decisions<'py>(&self, py: Python<'py>, count: usize) -> Bound<'py, PyBytes> {
        let page = py.detach(|| self.ring.last(count));
        PyBytes::new(py, &page)
    }

    fn decisions_about<'py>(
        &self,
        py: Python<'py>,
        request_id: &str,
    ) -> Option<Bound<'py, PyBytes>> {
        let page = py.detach(|| self.ring.about(request_id))?;
        Some(PyBytes::new(py, &page))
    }

    fn decisions(&self) -> DecisionStats {
        self.core.decisions().into()
    }

    fn sessions(&self) -> (u64, u64) {
        self.core.sessions()
    }

    fn recorded(&self) -> (u64, u64) {
        let tape = self.timeline.tape.as_ref();
        tape.map_or((0, 0), |tape| {
            (tape.writer().written(), tape.writer().dropped())
        })
    }

    fn recording_error(&self) -> Option<String> {
        self.timeline.tape.as_ref()?.writer().take_error()
    }

    fn end_recording(&self, py: Python<'_>) {
        if let Some(tape) = &self.timeline.tape {
            py.detach(|| tape.writer().close());
        }
    }
}

impl Scheduler {
    /// Hashes the prompt, then chooses and books in one turn.
    fn choose(
        &self,
        role: Role,
        request: &Request,
        options: &Options,
    ) -> Result<Option<(Decision, Witnesses)>, NotServed> {
        let body = &request.scanned;
        let mut ask = self.core.ask(role, body, options)?;
        let asked = self.timeline.tape.as_ref().map(|tape| {
            // Also where the policy does not look: the recording is to be played with others.
            let policy = self.core.policy(role);
            let reads = policy.is_some_and(Policy::reads_prefixes);
            let prefix = if reads {
                ask.prefix.clone()
            } else {
                self.core.prefix(body, options.tokens.as_deref())
            };
            ask.prefix = ask.prefix.take().map(|prefix| tape.ids().draw(prefix));
            Asked::new(tape.ids(), request.number(tape), role, policy, &ask, prefix)
        });
        let policy = self.core.policy(role).ok_or(NotServed(role))?;
        let moment = self.timeline.moment();
        let now = moment.now;
        let mut decision = if request.trail().is_some() {
            self.core.decide_explained(role, ask, now)?
        } else {
            self.core.decide(role, ask, now)?
        };
        let told = self.tell(request, role, policy, &mut decision, &options.exclude, now);
        Ok(self.witnessed(moment, asked, decision, told))
    }

    /// The same among those that serve an endpoint by name.
    fn choose_for(
        &self,
        endpoint: &str,
        request: &Request,
        exclude: &[String],
    ) -> Option<(Decision, Witnesses)> {
        let (role, policy) = (Role::Mixed, FOR_ENDPOINTS);
        let body = &request.scanned;
        let ask = Core::ask_for(body, exclude);
        let asked = self.timeline.tape.as_ref().map(|tape| {
            let (ids, number) = (tape.ids(), request.number(tape));
            // Nobody looks at it, and a line has it all the same.
            let prefix = self.core.prefix(body, None);
            Asked::new(ids, number, role, Some(policy), &ask, prefix).for_endpoint(endpoint)
        });
        let moment = self.timeline.moment();
        let now = moment.now;
        let explained = request.trail().is_some();
        let mut decision = self.core.decide_for(endpoint, &ask, explained, now);
        let told = self.tell(request, role, policy, &mut decision, exclude, now);
        self.witnessed(moment, asked, decision, told)
    }

    /// A decision with who is told what becomes of it, in the turn in which it was made.
    fn witnessed(
        &self,
        mut moment: Moment<'_>,
        asked: Option<Asked>,
        decision: Option<Decision>,
        told: Option<Kept>,
    ) -> Option<(Decision, Witnesses)> {
        let (Some(tape), Some(turn), Some(asked)) = (&self.timeline.tape, &mut moment.turn, asked)
        else {
            return decision.map(|decision| (decision, Witnesses { entry: None, told }));
        };
        let (decision, entry) = Entry::new(tape, turn, asked, decision, moment.now)?;
        Some((decision, Witnesses { entry, told }))
    }

    /// What was decided for a request, for `beside` where it is that worker's partner.
    fn booking(
        &self,
        decision: Decision,
        witnesses: Witnesses,
        request: &Request,
        beside: Option<&str>,
    ) -> Booking {
        let counted = self
            .answers
            .as_ref()
            // Its answer is for its partner, whose answer is for the client.
            .filter(|_| decision.role != Role::Prefill)
            .map(|answers| Counted::new(Arc::clone(answers), request.since, beside));
        Booking::new(
            Arc::clone(&self.core),
            self.timeline.clone(),
            decision,
            witnesses,
            counted,
            request.scanned.stream(),
        )
    }

    /// Keeps a decision to be asked about, where it is known what the request is called; None is one for nobody.
    fn tell(
        &self,
        request: &Request,
        role: Role,
        policy: Policy,
        decision: &mut Option<Decision>,
        excluded: &[String],
        now: u64,
    ) -> Option<Kept> {
        let trail = request.trail()?;
        let at = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        let chosen = Chosen {
            role,
            policy,
            decided_by: decision.as_ref().map_or(policy, |decision| decision.policy),
            fallback: decision.as_ref().and_then(Decision::reason),
            view: decision.as_mut().and_then(|decision| decision.view.take()),
            at: at.as_millis() as u64,
            now,
        };
        Some(trail.tell(&self.ring, chosen, excluded))
    }
}

fn role_of(name: &str) -> PyResult<Role> {
    name.parse()
        .map_err(|error: fd_router_core::ids::UnknownRole| PyValueError::new_err(error.to_string()))
}

/// Adds this part's classes to the module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    module.add_class::<Lease>()?;
    module.add_class::<Scheduler>()?;
    module.add_class::<SnapshotCopy>()?;
    module.add_class::<TreeStats>()?;
    module.add_class::<DecisionStats>()?;
    module.add_class::<TruthStats>()?;
    module.add("ANY_MODEL", ANY_MODEL)?;
    module.add("MAX_DECISIONS", MAX_ANSWER)?;
    module.add("HIT_BOUNDS", PyTuple::new(py, HIT_BOUNDS)?)
}
