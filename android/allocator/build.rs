//! Compiles the interface, in the folder `aidl` or the one that the argument names.

use std::path::PathBuf;

/// What clients compare with the version that they were built against.
const VERSION: i32 = 2;
/// The hash of that version's frozen text in Android's tree.
const HASH: &str = "9499fec09c544e9de5be3c87125721600f8ade66";

fn main() {
    let aidl = std::env::args_os().nth(1).map_or_else(|| PathBuf::from("aidl"), PathBuf::from);
    println!("cargo::rerun-if-changed={}", aidl.display());
    let generated = rsbinder_aidl::Builder::new()
        .source(aidl.join("android/hardware/graphics/allocator/IAllocator.aidl"))
        .version(VERSION)
        .hash(HASH)
        .include_dir(&aidl)
        .output("allocator_aidl.rs")
        .generate();
    if let Err(error) = generated {
        eprintln!("{:?}", miette::Report::new(error));
        std::process::exit(1);
    }
}
