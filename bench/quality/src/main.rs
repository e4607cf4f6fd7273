//! How good choices are: policies of other routers on real and made-up traffic, in virtual time.
//!
//! Everything is seeded; two runs print the same but for the last column, the seconds that they took. Policies that other routers have are told from
//! their sources in as few lines as possible, each with an index of its own that forgets nothing, as theirs do.

mod contender;
mod index;
mod loads;
mod router;
mod rules;
mod scenario;
mod table;
mod traces;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use fd_router_simulate::Report;

use crate::contender::Contender;
use crate::scenario::Scenario;
use crate::table::Row;

const USAGE: &str = "\
usage: fd-router-quality [--data DIR] [--only TEXT] [--first N] [--json]

--data   where the public traces are (../shared/data); scenarios whose trace is missing are named and left out
--only   scenarios whose name contains TEXT
--first  only the first N requests of each trace
--json   one JSON line a row instead of tables";

struct Args {
    data: PathBuf,
    only: String,
    first: usize,
    json: bool,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fd-router-quality: {error}\n{USAGE}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let args = parse(std::env::args().skip(1))?;
    let wanted = |scenario: &&Scenario| scenario.name.contains(&args.only);
    for scenario in scenario::all().iter().filter(wanted) {
        let Some(trace) = scenario.trace(&args.data)? else {
            eprintln!(
                "left out: {} (no trace in {})",
                scenario.name,
                args.data.display()
            );
            continue;
        };
        let trace = trace.first(args.first);
        let fleet = scenario.fleet(&trace);
        let mut rows = Vec::new();
        for contender in Contender::all() {
            let started = Instant::now();
            let records = contender.run(&trace, &fleet)?;
            rows.push(Row {
                scenario: scenario.name,
                policy: contender.name(),
                report: Report::new(&records, scenario.engines),
                seconds: started.elapsed().as_secs_f64(),
            });
        }
        if args.json {
            for row in &rows {
                println!("{}", serde_json::to_string(row)?);
            }
        } else {
            table::print(&rows);
        }
    }
    Ok(())
}

fn parse(mut words: impl Iterator<Item = String>) -> Result<Args, String> {
    let mut args = Args {
        data: PathBuf::from("../shared/data"),
        only: String::new(),
        first: usize::MAX,
        json: false,
    };
    while let Some(word) = words.next() {
        if word == "--json" {
            args.json = true;
            continue;
        }
        let value = words
            .next()
            .ok_or_else(|| format!("{word} needs a value"))?;
        match word.as_str() {
            "--data" => args.data = value.into(),
            "--only" => args.only = value,
            "--first" => {
                args.first = value
                    .parse()
                    .map_err(|_| format!("--first takes a number, not {value:?}"))?;
            }
            _ => return Err(format!("unknown option {word:?}")),
        }
    }
    Ok(args)
}
