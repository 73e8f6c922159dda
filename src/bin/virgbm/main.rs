//! The program `virgbm`: shows what the library and the host module do, on this machine or on a device node.

mod alloc;
mod capsets;
mod control;
mod ctl;
mod demo;
mod doctor;
mod drivers;
mod host;
mod info;
mod node;
mod pattern;
mod sheet;
mod table;

use clap::{Parser, Subcommand};
use std::io::Write;
use std::process::ExitCode;

/// What every command may fail with: a text for people.
type Failure = Box<dyn std::error::Error>;

/// The buffer allocator for virtual machines.
///
/// Without a command it runs `demo`: both halves in this process, real requests, one picture of what the host sees.
#[derive(Parser)]
#[command(version, max_term_width = 120, after_help = EXAMPLES)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

const EXAMPLES: &str = "Examples:
  virgbm                                                        allocate, draw, and look from the host's side
  virgbm info                                                   what the embedded host offers
  virgbm info --node /dev/dri/renderD128                        what a VM's device offers, and which backend serves it
  virgbm alloc --format NV12 --size 1279x719 --usage video_decoder,texture
  virgbm host --socket gpu.sock                                 be the graphics device of a VM
  virgbm alloc --format XR24 --size 1920x1080 --usage scanout,render --modifier LINEAR --count 3

RUST_LOG=debug tells what host and guest refuse, and why.";

#[derive(Subcommand)]
enum Command {
    /// Allocate real requests on the embedded host, draw through CPU mappings, and write what the host sees as one PNG
    Demo(demo::Options),
    /// Show parameters, capsets, the backend chosen and why the others were not, and the support table
    Info(info::Options),
    /// In a guest: why its screen would stay black or be slow, and what to change on the host
    Doctor(doctor::Options),
    /// Make one request, and print its layout or the reason for its refusal
    Alloc(alloc::Options),
    /// Be a virtio-gpu device for VMMs: a vhost-user process behind a socket
    Host(host::Options),
    /// Look into a running `virgbm host`: its buffers, their pictures and bytes, its counts
    Ctl(ctl::Options),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut logger = env_logger::Builder::from_default_env();
    if let Some(Command::Host(options)) = &arguments.command
        && let Some(level) = options.log
    {
        logger.filter_level(level);
    }
    logger.init();
    let result = match arguments.command {
        None => demo::run(&demo::Options::default()),
        Some(Command::Demo(options)) => demo::run(&options),
        Some(Command::Info(options)) => info::run(&options),
        Some(Command::Doctor(options)) => doctor::run(&options),
        Some(Command::Alloc(options)) => alloc::run(&options),
        Some(Command::Host(options)) => host::run(&options),
        Some(Command::Ctl(options)) => ctl::run(&options),
    };
    // Whoever reads the output may have seen enough: a closed pipe is no failure.
    let printed = result.and_then(|text| match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    });
    match printed {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("virgbm: {failure}");
            ExitCode::FAILURE
        }
    }
}
