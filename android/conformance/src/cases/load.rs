//! Many times, many threads, and other processes.

use crate::case::{CPU, Case, Checked, WHOLE, allocate, check, held, import, of_format, of_mapper, ok, plain, same};
use crate::library::stream::kind;
use crate::library::{Mapper, Suite};
use crate::receiver;
use virgbm_android_handle::HalFormat;

pub const CASES: &[Case] = &[
    of_mapper("importing and freeing many times grows nothing", imports),
    of_mapper("another process that gets a handle reads, writes and sets, and is seen", other_process),
    of_mapper("many handles of one buffer are imported at once", many_at_once),
    of_mapper("eight threads lock and unlock many times, and nothing grows", threads),
    of_mapper("eight threads import, lock, get and free, each its own", threads_import),
];

/// How many pages may come and go without being a leak: arenas of the C library's.
const SLACK_PAGES: usize = 1024;

const THREADS: usize = 8;

fn grew(before: (usize, usize)) -> Checked {
    let (fds, pages) = held()?;
    same!(fds, before.0, "descriptors");
    check!(pages < before.1 + SLACK_PAGES, "{} pages before, {pages} after", before.1);
    Ok(())
}

fn imports(suite: &Suite, mapper: &Mapper) -> Checked {
    let allocated = allocate(suite, &plain())?;
    import(mapper, &allocated.raw)?;
    let before = held()?;
    for _ in 0..suite.imports {
        let handle = ok(mapper.import_pointer(allocated.raw.pointer()), "importBuffer")?;
        same!(mapper.free_pointer(handle), Ok(()), "freeBuffer");
    }
    grew(before)
}

fn other_process(suite: &Suite, mapper: &Mapper) -> Checked {
    for format in [HalFormat::RGBA_8888, HalFormat::YCBCR_420_888, HalFormat::YV12, HalFormat::RGB_888] {
        let allocated = allocate(suite, &of_format(format))?;
        let buffer = import(mapper, &allocated.raw)?;
        receiver::lock(&buffer)?.fill(receiver::SENT);
        ok(buffer.unlock(), "unlock")?;
        let (dataspace, blend_mode) = receiver::SETTINGS;
        same!(buffer.set(kind::DATASPACE, &dataspace.to_le_bytes()), Ok(()), "set");
        receiver::send(mapper, &allocated.raw)?;
        same!(receiver::lock(&buffer)?.differs(receiver::ANSWER), None, "the first byte that is not as the other wrote it");
        ok(buffer.unlock(), "unlock")?;
        same!(buffer.value::<i32>(kind::BLEND_MODE)?, blend_mode, "BLEND_MODE");
    }
    Ok(())
}

fn many_at_once(suite: &Suite, mapper: &Mapper) -> Checked {
    let allocated = allocate(suite, &plain())?;
    let before = held()?;
    let buffers: Vec<_> = (0..200).map(|_| import(mapper, &allocated.raw)).collect::<Result<_, _>>()?;
    let last = buffers.last().ok_or("there is none".to_owned())?;
    crate::case::lock(last, CPU, 64 * 64)?.fill(4);
    crate::case::unlock(last)?;
    drop(buffers);
    grew(before)
}

/// Does some work in eight threads at once.
fn in_threads(work: impl Fn(usize) -> Checked + Sync) -> Checked {
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|number| {
                scope.spawn({
                    let work = &work;
                    move || work(number)
                })
            })
            .collect();
        threads.into_iter().try_for_each(|thread| match thread.join() {
            Ok(checked) => checked,
            Err(_) => Err("a thread panics".to_owned().into()),
        })
    })
}

fn threads(suite: &Suite, mapper: &Mapper) -> Checked {
    let allocated = allocate(suite, &plain())?;
    let one = import(mapper, &allocated.raw)?;
    let work = |rounds: usize| {
        in_threads(|_| {
            for _ in 0..rounds {
                let address = ok(one.lock(CPU, WHOLE), "lock")?;
                check!(!address.is_null(), "lock gives no address");
                ok(one.unlock(), "unlock")?;
            }
            Ok(())
        })
    };
    work(1)?;
    let before = held()?;
    work(suite.locks)?;
    same!(one.unlock().map(drop), Err(crate::case::BAD_BUFFER), "one unlock more than locks");
    grew(before)
}

fn threads_import(suite: &Suite, mapper: &Mapper) -> Checked {
    let allocated = allocate(suite, &plain())?;
    in_threads(|number| {
        for round in 0..suite.imports / 100 {
            let buffer = import(mapper, &allocated.raw)?;
            ok(buffer.lock(CPU, WHOLE), "lock")?;
            same!(buffer.value::<u64>(kind::WIDTH)?, 64, "WIDTH");
            same!(buffer.set(kind::DATASPACE, &(number as i32).to_le_bytes()), Ok(()), "set in round {round}");
            ok(buffer.unlock(), "unlock")?;
        }
        Ok(())
    })
}
