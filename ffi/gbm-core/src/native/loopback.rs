//! `VIRGBM_LOOPBACK=1`: a host in this process serves any character device, for tests without a virtual machine.
//!
//! The devices that a process has at a time are open files of one host, which goes with the last of them.

use std::error::Error;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use virgbm::guest::node::loopback::Loopback;

const VARIABLE: &str = "VIRGBM_LOOPBACK";

static OPEN: Mutex<Vec<Weak<Loopback>>> = Mutex::new(Vec::new());

/// Whether the environment asks for it.
pub fn is_asked_for() -> bool {
    std::env::var_os(VARIABLE).is_some_and(|value| value == "1")
}

/// A character device that every machine has, to be served.
pub fn device_file() -> Result<OwnedFd, Box<dyn Error + Send + Sync>> {
    Ok(File::options().read(true).write(true).open("/dev/null")?.into())
}

/// A new open file of the host that is there, or of a new one.
pub fn node() -> Result<Arc<Loopback>, Box<dyn Error + Send + Sync>> {
    let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
    open.retain(|node| node.strong_count() > 0);
    let alive = open.iter().find_map(Weak::upgrade);
    let node = Arc::new(alive.map_or_else(Loopback::new, |other| Ok(other.open_again()))?);
    open.push(Arc::downgrade(&node));
    Ok(node)
}
