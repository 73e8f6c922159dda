//! Loads a mapper (`mapper.*.so`), a gralloc module (`gralloc.*.so`) or both, and checks what Android's compatibility tests check of
//! them, and what they must refuse. Prints a row a case.

mod case;
mod cases;
mod library;
mod receiver;
mod sys;
mod times;

use case::{Case, Outcome};
use clap::Parser;
use library::{Gralloc, Mapper, Source, Suite};
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::ExitCode;

/// Checks a mapper or a gralloc module, with buffers from one of two allocators.
#[derive(Parser)]
struct Arguments {
    /// The mapper, a stable-C IMapper 5.
    #[arg(long)]
    mapper: Option<PathBuf>,
    /// The gralloc module, of API 0.3.
    #[arg(long)]
    gralloc: Option<PathBuf>,
    /// Allocates the mapper's buffers with the gralloc module, for makers of both; else virgbm allocates.
    #[arg(long)]
    allocate_with_gralloc: bool,
    /// Checks nothing, and tells what the mapper's calls cost.
    #[arg(long)]
    times: bool,
    /// Only cases whose name has this in it.
    #[arg(long)]
    only: Option<String>,
    /// How often a buffer is imported and freed.
    #[arg(long, default_value_t = 100_000)]
    imports: usize,
    /// What the suite says to a process that it starts: the numbers of a handle.
    #[arg(long, hide = true, value_delimiter = ',', allow_hyphen_values = true)]
    receive: Vec<i32>,
    /// How often each of 8 threads locks and unlocks.
    #[arg(long, default_value_t = 10_000)]
    locks: usize,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let (Some(mapper), [_, ..]) = (&arguments.mapper, &arguments.receive[..]) {
        return receiver::run(mapper, &arguments.receive);
    }
    match load(&arguments) {
        Ok(suite) if arguments.times => times::run(&suite),
        Ok(suite) => run(&suite, &arguments),
        Err(why) => {
            eprintln!("{why}");
            ExitCode::from(2)
        }
    }
}

fn load(arguments: &Arguments) -> Result<Suite, String> {
    let gralloc = arguments.gralloc.as_deref().map(Gralloc::load).transpose()?;
    let mapper = arguments.mapper.as_deref().map(Mapper::load).transpose()?;
    if gralloc.is_none() && mapper.is_none() {
        return Err("nothing to check: give --mapper or --gralloc".to_owned());
    }
    let source = match (arguments.allocate_with_gralloc, &gralloc) {
        (true, Some(gralloc)) => Source::Gralloc(gralloc.open()?),
        (true, None) => return Err("--allocate-with-gralloc needs --gralloc".to_owned()),
        (false, _) if mapper.is_some() => Source::open_virgbm()?,
        (false, _) => Source::None,
    };
    Ok(Suite { mapper, gralloc, source, imports: arguments.imports, locks: arguments.locks })
}

fn run(suite: &Suite, arguments: &Arguments) -> ExitCode {
    let wanted = |case: &&Case| arguments.only.as_ref().is_none_or(|part| case.name.contains(part));
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    for case in cases::all().filter(|case| case.applies(suite)).filter(|case| wanted(case)) {
        // Before it runs: a library that ends the process is seen to do it in this case.
        print!("{:<9} {:<82} ", case.part, case.name);
        let _ = std::io::stdout().flush();
        let outcome =
            catch_unwind(AssertUnwindSafe(|| case.run(suite))).unwrap_or_else(|_| Outcome::Failed("a panic".to_owned()));
        let (counter, word, why) = match outcome {
            Outcome::Passed => (&mut passed, "passed", None),
            Outcome::Skipped(why) => (&mut skipped, "skipped", Some(why)),
            Outcome::Failed(why) => (&mut failed, "FAILED", Some(why)),
        };
        *counter += 1;
        println!("{word}{}", why.map(|why| format!(": {why}")).unwrap_or_default());
    }
    println!("test result: {}. {passed} passed; {failed} failed; {skipped} ignored", if failed == 0 { "ok" } else { "FAILED" });
    if failed == 0 && passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
