//! Another process, which has nothing but a mapper and a handle: what it does with a buffer of somebody else.

use crate::library::stream::{List, Plane, kind};
use crate::library::{Buffer, Mapper};
use crate::sys::handle::Raw;
use crate::sys::memory::Bytes;
use std::path::Path;
use std::process::{Command, ExitCode};
use virgbm_android_abi::imapper::Rect;

/// What the sender has written, and what the receiver writes.
pub const SENT: usize = 11;
/// The answer.
pub const ANSWER: usize = 12;
/// The dataspace that the sender has set, and the blend mode that the receiver sets.
pub const SETTINGS: (i32, i32) = (77, 3);

const CPU: u64 = 0x33;

/// Sends a handle to another process, and waits for its end.
pub fn send(mapper: &Mapper, raw: &Raw) -> Result<(), String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let (words, _fds) = raw.inheritable()?;
    let words: Vec<_> = words.iter().map(i32::to_string).collect();
    let mut command = Command::new(program);
    command.arg("--mapper").arg(mapper.path()).arg(format!("--receive={}", words.join(",")));
    let output = command.output().map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("the other process: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim()))
}

/// The other process.
pub fn run(mapper: &Path, words: &[i32]) -> ExitCode {
    match receive(mapper, words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

fn receive(mapper: &Path, words: &[i32]) -> Result<(), String> {
    let mapper = Mapper::load(mapper)?;
    let raw = Raw::of_words(words).ok_or("its descriptors are closed")?;
    let buffer = mapper.import(&raw).map_err(|number| format!("importBuffer gives {number}"))?;
    drop(raw);
    let bytes = lock(&buffer)?;
    if let Some(at) = bytes.differs(SENT) {
        return Err(format!("byte {at} is not as sent"));
    }
    bytes.fill(ANSWER);
    buffer.unlock().map_err(|number| format!("unlock gives {number}"))?;
    let (dataspace, blend_mode) = SETTINGS;
    if buffer.value::<i32>(kind::DATASPACE)? != dataspace {
        return Err("the dataspace is not as set".to_owned());
    }
    buffer.set(kind::BLEND_MODE, &blend_mode.to_le_bytes()).map_err(|number| format!("set gives {number}"))
}

/// Locks all of a buffer's planes.
pub fn lock(buffer: &Buffer<'_>) -> Result<Bytes, String> {
    let planes: List<Plane> = buffer.value(kind::PLANE_LAYOUTS)?;
    let reach = planes.0.iter().map(|plane| plane.offset() + plane.size()).max().unwrap_or(0);
    let address = buffer.lock(CPU, Rect::default()).map_err(|number| format!("lock gives {number}"))?;
    Ok(Bytes::new(address, reach))
}
