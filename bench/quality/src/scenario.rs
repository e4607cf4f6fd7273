//! Which traffic meets which fleet, and what `least_work` is held to there.

use std::error::Error;
use std::path::Path;

use fd_router_simulate::{
    Arrival, Batching, CacheChange, Engine, Fleet, Model, Serial, Sessions, Trace,
};

use crate::bars::{self, Bars};
use crate::traces::{azure, read, shared_prefix};

/// A trace, a load and a fleet.
#[derive(Debug, Clone)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) engines: usize,
    traffic: Traffic,
    model: Model,
    /// Tokens that a cache holds.
    cache_tokens: usize,
    /// How much slower every other engine is.
    slowdown: f64,
    pub(crate) bars: Bars,
}

#[derive(Debug, Clone, Copy)]
enum Traffic {
    /// Mooncake's conversations, so many times as dense.
    Conversation(f64),
    /// The second half of them.
    Later(f64),
    /// The same at even distances, so many a second: as recorded, ten come at once every three seconds.
    Evenly(f64),
    /// Sessions of a recording, so many a second.
    Agents(&'static str, usize, f64),
    /// See [`shared_prefix`], requests a second.
    SharedPrefix(f64),
    /// See [`azure`], so many times as dense.
    Azure(f64),
}

/// Tokens a block of the conversation trace.
const BLOCK_SIZE: usize = 512;
/// Tokens a block of agents' prompts: vLLM's default. Prompts of taubench hardly have a block of 512.
const AGENT_BLOCK_SIZE: usize = 16;
/// Runs of a scenario of agents, which differ in when sessions start. At the edge of what the caches hold, one run
/// differs from the next by up to a third whatever is chosen.
const AGENT_RUNS: u64 = 4;

const BATCHING: Model = Model::Batching(Batching {
    max_tokens: 8_192,
    max_running: 256,
});
const SERIAL: Model = Model::Serial(Serial {
    base: 0,
    block: 60_000,
    token: 10_000,
});

/// All scenarios.
pub(crate) fn all() -> Vec<Scenario> {
    [conversations(), agents(), others(), unseen()].concat()
}

fn conversations() -> Vec<Scenario> {
    let serial = |name, speed| Scenario {
        model: SERIAL,
        cache_tokens: 3_000 * BLOCK_SIZE,
        bars: bars::SERIAL,
        ..conversation(name, 8, speed)
    };
    let four = |name, speed| Scenario {
        bars: bars::FOUR,
        ..conversation(name, 4, speed)
    };
    vec![
        serial("conversation x1, 8 serial", 1.0),
        serial("conversation x1.5, 8 serial", 1.5),
        conversation("conversation x1, 8 batching", 8, 1.0),
        conversation("conversation x2, 8 batching", 8, 2.0),
        Scenario {
            bars: bars::DENSE,
            ..conversation("conversation x3, 8 batching", 8, 3.0)
        },
        four("conversation x1, 4 batching", 1.0),
        four("conversation x2, 4 batching", 2.0),
    ]
}

fn conversation(name: &'static str, engines: usize, speed: f64) -> Scenario {
    Scenario {
        name,
        engines,
        traffic: Traffic::Conversation(speed),
        model: BATCHING,
        cache_tokens: 2_048 * BLOCK_SIZE,
        slowdown: 1.0,
        bars: bars::EIGHT,
    }
}

/// Caches beside what the sessions under way hold: roomy, full, and overflowing whatever is chosen.
fn agents() -> Vec<Scenario> {
    let agents = |name, file, sessions, rate, cache_tokens| Scenario {
        name,
        engines: 4,
        traffic: Traffic::Agents(file, sessions, rate),
        model: BATCHING,
        cache_tokens,
        slowdown: 1.0,
        bars: bars::AGENTS,
    };
    let miniswe = |name, rate, cache_tokens| agents(name, "miniswe", 600, rate, cache_tokens);
    let taubench = |name, rate, cache_tokens| agents(name, "taubench", 1_200, rate, cache_tokens);
    vec![
        miniswe("miniswe 1/s, 4 batching, roomy", 1.0, 1 << 18),
        miniswe("miniswe 0.7/s, 4 batching, full", 0.7, 1 << 17),
        miniswe("miniswe 1/s, 4 batching, overflowing", 1.0, 1 << 17),
        taubench("taubench 8/s, 4 batching, full", 8.0, 1 << 14),
        taubench("taubench 12/s, 4 batching, overflowing", 12.0, 1 << 14),
    ]
}

fn others() -> Vec<Scenario> {
    let half_slow = |name, speed| Scenario {
        slowdown: 2.0,
        bars: bars::HALF_SLOW,
        ..conversation(name, 8, speed)
    };
    let one_prefix = |name, rate| Scenario {
        traffic: Traffic::SharedPrefix(rate),
        bars: bars::ONE_PREFIX,
        ..conversation(name, 16, 1.0)
    };
    vec![
        one_prefix("one prefix in half, 40/s, 16 batching", 40.0),
        one_prefix("one prefix in half, 120/s, 16 batching", 120.0),
        half_slow("conversation x1, 8 batching, 4 of them half as fast", 1.0),
        half_slow("conversation x2, 8 batching, 4 of them half as fast", 2.0),
        Scenario {
            traffic: Traffic::Evenly(1.0),
            bars: bars::LIGHT,
            ..conversation("conversation, one a second (light), 8 batching", 8, 1.0)
        },
    ]
}

/// Traffic that nothing was chosen by, run once the rule was done.
fn unseen() -> Vec<Scenario> {
    let azure = |name, speed, bars| Scenario {
        traffic: Traffic::Azure(speed),
        cache_tokens: 1 << 18,
        bars,
        ..conversation(name, 4, speed)
    };
    vec![
        Scenario {
            traffic: Traffic::Later(2.5),
            ..conversation(
                "unseen: second half of conversation x2.5, 6 batching",
                6,
                2.5,
            )
        },
        azure(
            "unseen: Azure's lengths x2 (light), 4 batching",
            2.0,
            bars::LIGHT,
        ),
        azure("unseen: Azure's lengths x4, 4 batching", 4.0, bars::AGENTS),
    ]
}

impl Scenario {
    /// The traffic, a trace a run; none when its file is not in `data`.
    pub(crate) fn traces(&self, data: &Path) -> Result<Vec<Trace>, Box<dyn Error>> {
        let one = match self.traffic {
            Traffic::Conversation(speed) => {
                recorded_conversation(data)?.map(|trace| trace.faster(speed))
            }
            Traffic::Later(speed) => {
                recorded_conversation(data)?.map(|trace| later(trace).faster(speed))
            }
            Traffic::Evenly(rate) => recorded_conversation(data)?.map(|trace| evenly(trace, rate)),
            Traffic::SharedPrefix(rate) => Some(shared_prefix::trace(12_000, rate)),
            Traffic::Azure(speed) => {
                let text = read(&data.join("AzureLLMInferenceTrace_conv.csv.gz"))?;
                let trace = text.map(|text| azure::trace(&text)).transpose()?;
                trace.map(|trace| trace.faster(speed))
            }
            Traffic::Agents(file, sessions, rate) => {
                let Some(text) = read(&data.join(file).with_extension("jsonl.gz"))? else {
                    return Ok(Vec::new());
                };
                let recording = Sessions::read(&text, AGENT_BLOCK_SIZE)?;
                let run = |seed| recording.trace(at_random(seed, rate).take(sessions));
                return Ok((1..=AGENT_RUNS).map(run).collect());
            }
        };
        Ok(one.into_iter().collect())
    }

    /// The engines, with caches in blocks of the trace.
    pub(crate) fn fleet(&self, trace: &Trace) -> Fleet {
        let engine = Engine::new(self.model, self.cache_tokens / trace.block_size);
        let engines = (0..self.engines).map(|position| match position % 2 {
            0 => engine.clone(),
            _ => engine.clone().slower(self.slowdown),
        });
        Fleet::Mixed(engines.collect())
    }

    /// The engines, of which the first's cache loses half of its blocks at some time.
    pub(crate) fn halved(&self, trace: &Trace, at: u64) -> Fleet {
        let mut fleet = self.fleet(trace);
        if let Fleet::Mixed(engines) = &mut fleet
            && let Some(first) = engines.first_mut()
        {
            let cache_blocks = first.cache_blocks / 2;
            first.changes.push(CacheChange { at, cache_blocks });
        }
        fleet
    }
}

fn recorded_conversation(data: &Path) -> Result<Option<Trace>, Box<dyn Error>> {
    let text = read(&data.join("conversation_trace.jsonl.gz"))?;
    let trace = text.map(|text| Trace::from_mooncake(&text, BLOCK_SIZE));
    Ok(trace.transpose()?)
}

/// Times at which something starts that happens so many times a second, in microseconds; the first is 0.
fn at_random(seed: u64, rate: f64) -> impl Iterator<Item = u64> {
    let mut chance = fastrand::Rng::with_seed(seed);
    let gaps = std::iter::repeat_with(move || -(1.0 - chance.f64()).ln() / rate * 1e6);
    std::iter::once(0.0).chain(gaps).scan(0.0, |at, gap| {
        *at += gap;
        Some(*at as u64)
    })
}

fn later(mut trace: Trace) -> Trace {
    trace.requests.drain(..trace.requests.len() / 2);
    trace
}

fn evenly(mut trace: Trace, rate: f64) -> Trace {
    for (position, request) in trace.requests.iter_mut().enumerate() {
        request.arrival = Arrival::At((position as f64 / rate * 1e6) as u64);
    }
    trace
}
