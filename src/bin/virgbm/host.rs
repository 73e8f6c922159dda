//! `virgbm host`: the host module as a device process.

use crate::{Failure, control};
use clap::Args;
use std::path::PathBuf;
use virgbm::host::vhost_user::{HostOptions, Server};

/// Which device, and where.
#[derive(Args)]
pub struct Options {
    /// The socket that the VMM connects to
    #[arg(long)]
    socket: PathBuf,
    /// The size of the host-visible window in MiB, a power of two; 0 for none
    #[arg(long, default_value_t = 256)]
    window_size: u64,
    /// What one guest context may hold, in MiB
    #[arg(long)]
    quota: Option<u64>,
    /// A socket for `virgbm ctl`
    #[arg(long)]
    control: Option<PathBuf>,
    /// Serve one VMM and end
    #[arg(long)]
    once: bool,
}

pub fn run(options: &Options) -> Result<String, Failure> {
    let mut host = HostOptions { window_bytes: options.window_size << 20, ..HostOptions::default() };
    if let Some(mebibytes) = options.quota {
        let quota = &mut host.config.quota;
        quota.context.bytes = mebibytes << 20;
        quota.device.bytes = quota.device.bytes.max(quota.context.bytes);
    }
    let mut server = Server::bind(&options.socket, host)?;
    if let Some(path) = &options.control {
        control::serve(path, server.watcher())?;
    }
    log::info!("listening at {}", options.socket.display());
    loop {
        server.serve_one()?;
        if options.once {
            return Ok(String::new());
        }
    }
}
