//! Which traffic meets which fleet.

use std::error::Error;
use std::path::Path;

use fd_router_simulate::{Arrival, Batching, Engine, Fleet, Model, Serial, Trace};

use crate::traces::agents::{Plan, Recording};
use crate::traces::{read, shared_prefix};

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
}

#[derive(Debug, Clone, Copy)]
enum Traffic {
    /// Mooncake's conversations, so many times as dense.
    Conversation(f64),
    /// The same at even distances, so many a second: as recorded, ten come at once every three seconds.
    Evenly(f64),
    /// Sessions of a recording, so many a second.
    Agents(&'static str, usize, f64),
    /// See [`shared_prefix`], requests a second.
    SharedPrefix(f64),
}

/// Tokens a block of the conversation trace.
const BLOCK_SIZE: usize = 512;
/// Tokens a block of agents' prompts: vLLM's default. Prompts of taubench hardly have a block of 512.
const AGENT_BLOCK_SIZE: usize = 16;

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
    [conversations(), agents(), others()].concat()
}

fn conversations() -> Vec<Scenario> {
    let serial = |name, speed| Scenario {
        model: SERIAL,
        cache_tokens: 3_000 * BLOCK_SIZE,
        ..conversation(name, 8, speed)
    };
    vec![
        serial("conversation x1, 8 serial", 1.0),
        serial("conversation x1.5, 8 serial", 1.5),
        conversation("conversation x1, 8 batching", 8, 1.0),
        conversation("conversation x2, 8 batching", 8, 2.0),
        conversation("conversation x3, 8 batching", 8, 3.0),
        conversation("conversation x1, 4 batching", 4, 1.0),
        conversation("conversation x2, 4 batching", 4, 2.0),
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
    };
    vec![
        agents(
            "miniswe 1/s, 4 batching, roomy",
            "miniswe",
            600,
            1.0,
            1 << 18,
        ),
        agents(
            "miniswe 0.7/s, 4 batching, full",
            "miniswe",
            600,
            0.7,
            1 << 17,
        ),
        agents(
            "miniswe 1/s, 4 batching, overflowing",
            "miniswe",
            600,
            1.0,
            1 << 17,
        ),
        agents(
            "taubench 8/s, 4 batching, full",
            "taubench",
            1_200,
            8.0,
            1 << 14,
        ),
        agents(
            "taubench 12/s, 4 batching, overflowing",
            "taubench",
            1_200,
            12.0,
            1 << 14,
        ),
    ]
}

fn others() -> Vec<Scenario> {
    let half_slow = |name, speed| Scenario {
        slowdown: 2.0,
        ..conversation(name, 8, speed)
    };
    let one_prefix = Scenario {
        traffic: Traffic::SharedPrefix(40.0),
        ..conversation("one prefix in half, 16 batching", 16, 1.0)
    };
    vec![
        one_prefix,
        half_slow("conversation x1, 8 batching, 4 of them half as fast", 1.0),
        half_slow("conversation x2, 8 batching, 4 of them half as fast", 2.0),
        Scenario {
            traffic: Traffic::Evenly(1.0),
            ..conversation("conversation, one a second (light), 8 batching", 8, 1.0)
        },
    ]
}

impl Scenario {
    /// The traffic; None when its file is not in `data`.
    pub(crate) fn trace(&self, data: &Path) -> Result<Option<Trace>, Box<dyn Error>> {
        Ok(match self.traffic {
            Traffic::Conversation(speed) => {
                recorded_conversation(data)?.map(|trace| trace.faster(speed))
            }
            Traffic::Evenly(rate) => recorded_conversation(data)?.map(|trace| evenly(trace, rate)),
            Traffic::Agents(file, sessions, rate) => {
                let plan = Plan {
                    block_size: AGENT_BLOCK_SIZE,
                    sessions,
                    rate,
                    seed: 1,
                };
                read(&data.join(file).with_extension("jsonl.gz"))?
                    .map(|text| Recording::read(&text, AGENT_BLOCK_SIZE))
                    .transpose()?
                    .map(|recording| recording.trace(&plan))
            }
            Traffic::SharedPrefix(rate) => Some(shared_prefix::trace(12_000, rate)),
        })
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
}

fn recorded_conversation(data: &Path) -> Result<Option<Trace>, Box<dyn Error>> {
    let text = read(&data.join("conversation_trace.jsonl.gz"))?;
    let trace = text.map(|text| Trace::from_mooncake(&text, BLOCK_SIZE));
    Ok(trace.transpose()?)
}

fn evenly(mut trace: Trace, rate: f64) -> Trace {
    for (position, request) in trace.requests.iter_mut().enumerate() {
        request.arrival = Arrival::At((position as f64 / rate * 1e6) as u64);
    }
    trace
}
