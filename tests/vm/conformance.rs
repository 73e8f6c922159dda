//! The suite of tests/conformance on the host of this VM, which may be QEMU's own.

#[path = "../conformance/suite.rs"]
mod suite;

use crate::path;
use virgbm::guest::Device;
use virgbm::guest::node::drm::DrmNode;

/// `VIRGBM_HOST` names the host in the table; `VIRGBM_DRAWN` says that it gives back what it has of a buffer.
#[test]
fn the_suite_holds_on_this_host() {
    let open = || Device::open(DrmNode::open(path("VIRGBM_NODE")).unwrap()).unwrap();
    let drawn = std::env::var_os("VIRGBM_DRAWN").is_some();
    let host = std::env::var("VIRGBM_HOST").unwrap_or("this VM".to_owned());
    println!("{}", suite::run(&host, &open(), &open(), drawn));
}
