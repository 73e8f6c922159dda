//! `virgbm doctor`: why a guest's screen would stay black or be slow, and what to change on the host's command line.

mod facts;
mod judgement;

use crate::Failure;
use crate::table::Table;
use clap::Args;
use facts::Facts;
use judgement::{Finding, Verdict, judge};
use std::path::PathBuf;

/// Which guest.
#[derive(Args)]
pub struct Options {
    /// The device node that programs allocate on, or `auto` for the first one there is
    #[arg(long, default_value = "auto")]
    node: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Prints what was found; a failure when something keeps the guest from showing a picture.
pub fn run(options: &Options) -> Result<String, Failure> {
    let findings = judge(&Facts::gather(&options.node));
    let text = if options.json { serde_json::to_string_pretty(&findings)? + "\n" } else { describe(&findings) };
    let worst = findings.iter().map(|finding| finding.verdict).max().unwrap_or(Verdict::Good);
    if worst < Verdict::Black {
        return Ok(text);
    }
    print!("{text}");
    Err(format!("this guest is {}", worst.name()).into())
}

fn describe(findings: &[Finding]) -> String {
    let mut table = Table::new(["what", "is", "because"]);
    for finding in findings {
        table.row([finding.what.to_owned(), finding.verdict.name().to_owned(), finding.because.clone()]);
    }
    let advice: Vec<_> = findings.iter().filter_map(|finding| Some(format!("{}: {}\n", finding.what, finding.advice?))).collect();
    if advice.is_empty() { table.to_string() } else { format!("{table}\nWhat would help\n{}", advice.concat()) }
}
