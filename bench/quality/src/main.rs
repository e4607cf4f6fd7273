//! How good choices are: policies of other routers on real and made-up traffic, in virtual time.
//!
//! Everything is seeded; two runs print the same but for the last column, the seconds that they took. Policies that other routers have are told from
//! their sources in as few lines as possible, each with an index of its own that forgets nothing, as theirs do.

mod bars;
mod contender;
mod index;
mod loads;
mod replicas;
mod router;
mod rules;
mod scenario;
mod special;
mod table;
mod traces;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use fd_router_simulate::{Report, Trace};

use crate::contender::Contender;
use crate::scenario::Scenario;
use crate::table::Row;

const USAGE: &str = "\
usage: fd-router-quality [--data DIR] [--only TEXT] [--first N] [--json] [--gate]

--data   where the public traces are (../shared/data); scenarios whose trace is missing are named and left out
--only   scenarios whose name contains TEXT
--first  only the first N requests of each trace
--json   one JSON line a row instead of tables
--gate   end with status 1 when a bar does not hold";

/// Scenarios that are also run with half of the answers whole.
const HALF_UNARY: [&str; 2] = ["conversation x1.5, 8 serial", "conversation x2, 8 batching"];
/// The scenario in which a cache is halved as well.
const HALVED: &str = "conversation x1, 8 batching";

/// The scenario that several routers share as well.
const REPLICAS: &str = "conversation x1, 8 batching";

struct Args {
    data: PathBuf,
    only: String,
    first: usize,
    json: bool,
    gate: bool,
}

fn main() -> ExitCode {
    let args = match parse(std::env::args().skip(1)) {
        Ok(args) => args,
        Err(error) => {
            eprintln!("fd-router-quality: {error}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match run(&args) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) if !args.gate => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("fd-router-quality: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs what is asked for. Returns how many bars do not hold.
fn run(args: &Args) -> Result<usize, Box<dyn Error>> {
    let wanted = |scenario: &&Scenario| scenario.name.contains(&args.only);
    let mut checks = Vec::new();
    for scenario in scenario::all().iter().filter(wanted) {
        let traces = scenario.traces(&args.data)?.into_iter();
        let traces: Vec<Trace> = traces.map(|trace| trace.first(args.first)).collect();
        let Some(trace) = traces.first() else {
            eprintln!(
                "left out: {} (no trace in {})",
                scenario.name,
                args.data.display()
            );
            continue;
        };
        let rows = rows(scenario, &traces)?;
        if args.json {
            for row in &rows {
                println!("{}", serde_json::to_string(row)?);
            }
        } else {
            table::print(&rows);
        }
        checks.extend(scenario.bars.check(&rows));
        if HALF_UNARY.contains(&scenario.name) {
            checks.extend(special::half_unary(scenario, trace)?);
        }
        if scenario.name == HALVED {
            checks.extend(special::halved(scenario, trace)?);
        }
        if scenario.name == REPLICAS {
            checks.extend(replicas::checks(scenario, trace)?);
        }
    }
    Ok(if args.json {
        checks.iter().filter(|check| !check.holds()).count()
    } else {
        bars::print(&checks)
    })
}

/// A row for each contender, over all runs of a scenario.
fn rows(scenario: &Scenario, traces: &[Trace]) -> Result<Vec<Row>, Box<dyn Error>> {
    let row = |contender: Contender| {
        let started = Instant::now();
        let mut records = Vec::new();
        for trace in traces {
            records.extend(contender.run(trace, &scenario.fleet(trace))?);
        }
        Ok(Row {
            scenario: scenario.name,
            policy: contender.name(),
            contender,
            report: Report::new(&records, scenario.engines),
            seconds: started.elapsed().as_secs_f64(),
        })
    };
    Contender::all().into_iter().map(row).collect()
}

fn parse(mut words: impl Iterator<Item = String>) -> Result<Args, String> {
    let mut args = Args {
        data: PathBuf::from("../shared/data"),
        only: String::new(),
        first: usize::MAX,
        json: false,
        gate: false,
    };
    while let Some(word) = words.next() {
        match word.as_str() {
            "--json" => args.json = true,
            "--gate" => args.gate = true,
            "--data" | "--only" | "--first" => {
                let value = words
                    .next()
                    .ok_or_else(|| format!("{word} needs a value"))?;
                match word.as_str() {
                    "--data" => args.data = value.into(),
                    "--only" => args.only = value,
                    _ => {
                        args.first = value
                            .parse()
                            .map_err(|_| format!("--first takes a number, not {value:?}"))?;
                    }
                }
            }
            _ => return Err(format!("unknown option {word:?}")),
        }
    }
    Ok(args)
}

#[cfg(test)]
mod tests;
