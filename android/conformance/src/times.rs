//! What the calls of a mapper cost, in nanoseconds.

use crate::library::stream::kind;
use crate::library::{Buffer, Mapper, Suite};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use virgbm_android_abi::imapper::Rect;
use virgbm_android_handle::{Descriptor, HalFormat};

/// Runs of a row, of which the middle one is told.
const RUNS: usize = 15;

/// How long a run lasts.
const RUN: Duration = Duration::from_millis(20);

/// Prints a row a call.
pub fn run(suite: &Suite) -> ExitCode {
    let Some(mapper) = &suite.mapper else {
        eprintln!("--times needs --mapper");
        return ExitCode::from(2);
    };
    match rows(suite, mapper) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

fn rows(suite: &Suite, mapper: &Mapper) -> Result<(), String> {
    let cpu = 0x33;
    let descriptor = Descriptor::new(1920, 1080, HalFormat::RGBA_8888, cpu);
    let allocated = suite.source.allocate(&descriptor).map_err(|error| format!("allocate: {error:?}"))?;
    let failed = |number: i32| format!("a call gives {number}");
    let buffer: Buffer<'_> = mapper.import(&allocated.raw).map_err(failed)?;
    let small = Rect { left: 0, top: 0, right: 64, bottom: 64 };
    let mut room = vec![0; 4096];
    let mut get = |number: i64| mapper.get_into(buffer.handle, number, Some(&mut room), 4096) >= 0;

    row("importBuffer and freeBuffer", || mapper.import(&allocated.raw).is_ok())?;
    row("lock and unlock of all of 1920x1080", || buffer.lock(cpu, Rect::default()).is_ok() && buffer.unlock().is_ok())?;
    row("lock and unlock of 64x64 for writing", || buffer.lock(0x30, small).is_ok() && buffer.unlock().is_ok())?;
    row("getStandardMetadata of WIDTH", || get(kind::WIDTH))?;
    row("getStandardMetadata of DATASPACE", || get(kind::DATASPACE))?;
    row("getStandardMetadata of PLANE_LAYOUTS", || get(kind::PLANE_LAYOUTS))?;
    row("setStandardMetadata of DATASPACE", || buffer.set(kind::DATASPACE, &[1, 0, 0, 0]).is_ok())?;
    row("allocating 1920x1080, without binder", || suite.source.allocate(&descriptor).is_ok())
}

fn row(name: &str, mut call: impl FnMut() -> bool) -> Result<(), String> {
    let mut times = Vec::with_capacity(RUNS);
    for _ in 0..RUNS {
        let (began, mut count) = (Instant::now(), 0u128);
        while began.elapsed() < RUN {
            for _ in 0..16 {
                if !call() {
                    return Err(format!("{name}: it fails"));
                }
            }
            count += 16;
        }
        times.push(began.elapsed().as_nanos() / count);
    }
    times.sort_unstable();
    let middle = times.get(RUNS / 2).copied().unwrap_or(0);
    println!("{name:<42} {middle:>9} ns");
    Ok(())
}
