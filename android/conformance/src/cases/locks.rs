//! Locks, fences, flush and reread.

use crate::case::{BAD_BUFFER, BAD_VALUE, CPU, Case, Checked, READ_OFTEN, TEXTURE, WHOLE, WRITE_OFTEN};
use crate::case::{Trouble, allocate, check, import, lock, of_mapper, ok, plain, same, unlock};
use crate::library::{Mapper, Suite};
use crate::sys::fence::Fence;
use crate::sys::handle::Raw;
use crate::sys::memory::Bytes;
use std::ffi::c_void;
use std::ptr::null;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use virgbm_android_abi::imapper::Rect;

pub const CASES: &[Case] = &[
    of_mapper("what is written is read with another lock", fill_and_verify),
    of_mapper("a lock without usage is refused, and nothing is locked", no_usage),
    of_mapper("a lock with usage of others than the CPU is refused", other_usage),
    of_mapper("a region twice as large as the buffer is refused", large_region),
    of_mapper("regions that are turned around, empty or negative are refused", odd_regions),
    of_mapper("the address is the buffer's upper left corner whatever the region", corner),
    of_mapper("unlock of null, an empty, a raw or an unlocked handle is refused", unlock_negative),
    of_mapper("locks nest, and the third unlock is refused", nested),
    of_mapper("locks of two threads end apart: what each wrote is there", two_threads),
    of_mapper("locks of a freed buffer end with it", freed_while_locked),
    of_mapper("what is flushed is reread through another import", flush_and_reread),
    of_mapper("flush and reread of bad or unlocked buffers are refused", flush_negative),
    of_mapper("lock waits for its fence, and closes it", waits_for_fence),
    of_mapper("lock closes its fence when it fails", closes_fence),
    of_mapper("a fence that is no descriptor is refused", bad_fence),
    of_mapper("unlock gives a fence that is signalled, or none", release_fence),
    of_mapper("unlock gives the fence of a transfer where the host has a copy, else none", fence_of_transfer),
];

fn fill_and_verify(suite: &Suite, mapper: &Mapper) -> Checked {
    let buffer = allocate(suite, &plain())?;
    let imported = import(mapper, &buffer.raw)?;
    let length = buffer.stride as usize * 64 * 4;
    lock(&imported, CPU, length)?.fill(1);
    unlock(&imported)?;
    same!(lock(&imported, CPU, length)?.differs(1), None, "the first byte that is not as written");
    unlock(&imported)?;
    let other = import(mapper, &buffer.raw)?;
    same!(lock(&other, READ_OFTEN, length)?.differs(1), None, "the first byte that another import sees wrong");
    unlock(&other)
}

fn no_usage(suite: &Suite, mapper: &Mapper) -> Checked {
    let buffer = allocate(suite, &plain())?;
    let imported = import(mapper, &buffer.raw)?;
    same!(imported.lock(0, WHOLE).map(drop), Err(BAD_VALUE), "lock");
    same!(imported.unlock().map(drop), Err(BAD_BUFFER), "unlock");
    Ok(())
}

fn other_usage(suite: &Suite, mapper: &Mapper) -> Checked {
    let buffer = allocate(suite, &plain())?;
    let imported = import(mapper, &buffer.raw)?;
    for usage in [TEXTURE, CPU | TEXTURE, 1 << 33 | CPU] {
        same!(imported.lock(usage, WHOLE).map(drop), Err(BAD_VALUE), "lock with {usage:#x}");
    }
    same!(imported.unlock().map(drop), Err(BAD_BUFFER), "unlock");
    Ok(())
}

fn large_region(suite: &Suite, mapper: &Mapper) -> Checked {
    let buffer = allocate(suite, &plain())?;
    let imported = import(mapper, &buffer.raw)?;
    let region = Rect { left: 0, top: 0, right: 128, bottom: 128 };
    same!(imported.lock(CPU, region).map(drop), Err(BAD_VALUE), "lock");
    Ok(())
}

fn odd_regions(suite: &Suite, mapper: &Mapper) -> Checked {
    let buffer = allocate(suite, &plain())?;
    let imported = import(mapper, &buffer.raw)?;
    for (left, top, right, bottom) in
        [(8, 0, 4, 8), (0, 8, 8, 4), (4, 4, 4, 4), (-1, 0, 8, 8), (0, -8, 8, 8), (0, 0, 65, 64), (i32::MIN, 0, i32::MAX, 1)]
    {
        let region = Rect { left, top, right, bottom };
        same!(imported.lock(CPU, region).map(drop), Err(BAD_VALUE), "lock of {region:?}");
    }
    Ok(())
}

fn corner(suite: &Suite, mapper: &Mapper) -> Checked {
    let buffer = allocate(suite, &plain())?;
    let imported = import(mapper, &buffer.raw)?;
    let whole = ok(imported.lock(CPU, WHOLE), "lock of all zeros")?;
    unlock(&imported)?;
    for (left, top, right, bottom) in [(0, 0, 64, 64), (8, 8, 16, 16), (63, 63, 64, 64)] {
        let region = Rect { left, top, right, bottom };
        let address = ok(imported.lock(CPU, region), "lock")?;
        unlock(&imported)?;
        same!(address, whole, "the address for {region:?}");
    }
    Ok(())
}

fn unlock_negative(suite: &Suite, mapper: &Mapper) -> Checked {
    let buffer = allocate(suite, &plain())?;
    let imported = import(mapper, &buffer.raw)?;
    let empty = Raw::empty();
    for (what, handle) in [
        ("null", null()),
        ("an empty handle", empty.pointer()),
        ("a raw handle", buffer.raw.pointer()),
        ("an unlocked one", imported.handle),
    ] {
        same!(mapper.unlock_pointer(handle).map(drop), Err(BAD_BUFFER), "unlock of {what}");
    }
    same!(mapper.lock_pointer(null(), CPU, WHOLE, -1).map(drop), Err(BAD_BUFFER), "lock of null");
    same!(mapper.lock_pointer(buffer.raw.pointer(), CPU, WHOLE, -1).map(drop), Err(BAD_BUFFER), "lock of a raw handle");
    Ok(())
}

fn nested(suite: &Suite, mapper: &Mapper) -> Checked {
    let buffer = allocate(suite, &plain())?;
    let imported = import(mapper, &buffer.raw)?;
    lock(&imported, CPU, 1)?;
    lock(&imported, CPU, 1)?;
    unlock(&imported)?;
    unlock(&imported)?;
    same!(imported.unlock().map(drop), Err(BAD_BUFFER), "the third unlock");
    Ok(())
}

fn two_threads(suite: &Suite, mapper: &Mapper) -> Checked {
    let buffer = allocate(suite, &plain())?;
    let imported = import(mapper, &buffer.raw)?;
    let row = buffer.stride as usize * 4;
    let (locked_first, locked_both, ended_first) = (Barrier::new(2), Barrier::new(2), Barrier::new(2));
    let lock_half = |top: i32| imported.lock(WRITE_OFTEN, Rect { left: 0, top, right: 64, bottom: top + 32 });
    let write_half = |address: Result<*mut c_void, i32>, top: usize| -> Checked {
        let bytes = Bytes::new(ok(address, "lock")?, row * 64);
        (row * top..row * (top + 32)).for_each(|at| bytes.set(at, at as u8 ^ 0x33));
        ok(imported.unlock(), "unlock").map(drop)
    };
    std::thread::scope(|scope| {
        let first = scope.spawn(|| {
            let locked = lock_half(0);
            locked_first.wait();
            locked_both.wait();
            let written = write_half(locked, 0);
            ended_first.wait();
            written
        });
        locked_first.wait();
        let locked = lock_half(32);
        locked_both.wait();
        ended_first.wait();
        let written = write_half(locked, 32);
        first.join().unwrap_or_else(|_| Err("a thread panics".to_owned().into())).and(written)
    })?;
    let reader = import(mapper, &buffer.raw)?;
    let bytes = lock(&reader, READ_OFTEN, row * 64)?;
    // Rows may be padded: what is between them is nobody's.
    let wrong = (0..64 * 64 * 4).map(|at| at / 256 * row + at % 256).find(|at| bytes.get(*at) != Some(*at as u8 ^ 0x33));
    unlock(&reader)?;
    same!(wrong, None, "the first byte that is not as written");
    Ok(())
}

fn freed_while_locked(suite: &Suite, mapper: &Mapper) -> Checked {
    let buffer = allocate(suite, &plain())?;
    let imported = import(mapper, &buffer.raw)?;
    lock(&imported, CPU, 1)?;
    let handle = imported.into_handle();
    same!(mapper.free_pointer(handle), Ok(()), "freeBuffer");
    same!(mapper.unlock_pointer(handle).map(drop), Err(BAD_BUFFER), "unlock");
    Ok(())
}

fn flush_and_reread(suite: &Suite, mapper: &Mapper) -> Checked {
    let buffer = allocate(suite, &plain())?;
    let (writer, reader) = (import(mapper, &buffer.raw)?, import(mapper, &buffer.raw)?);
    let length = buffer.stride as usize * 64 * 4;
    let written = lock(&writer, WRITE_OFTEN, length)?;
    let read = lock(&reader, READ_OFTEN, length)?;
    written.fill(5);
    same!(mapper.flush(writer.handle), Ok(()), "flushLockedBuffer");
    same!(mapper.reread(reader.handle), Ok(()), "rereadLockedBuffer");
    same!(read.differs(5), None, "the first byte that the reader sees wrong");
    unlock(&reader)?;
    unlock(&writer)
}

fn flush_negative(suite: &Suite, mapper: &Mapper) -> Checked {
    let buffer = allocate(suite, &plain())?;
    let imported = import(mapper, &buffer.raw)?;
    for (what, handle) in [("null", null()), ("a raw handle", buffer.raw.pointer()), ("an unlocked one", imported.handle)] {
        same!(mapper.flush(handle), Err(BAD_BUFFER), "flushLockedBuffer of {what}");
        same!(mapper.reread(handle), Err(BAD_BUFFER), "rereadLockedBuffer of {what}");
    }
    Ok(())
}

fn waits_for_fence(suite: &Suite, mapper: &Mapper) -> Checked {
    let buffer = allocate(suite, &plain())?;
    let imported = import(mapper, &buffer.raw)?;
    let (mut fence, number) = Fence::new(false)?;
    let signalled = AtomicBool::new(false);
    let (locked, early, fence) = std::thread::scope(|scope| {
        let signaller = scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(50));
            signalled.store(true, Ordering::SeqCst);
            fence.signal().map(|()| fence)
        });
        let locked = mapper.lock_pointer(imported.handle, CPU, WHOLE, number);
        let early = !signalled.load(Ordering::SeqCst);
        (locked, early, signaller.join())
    });
    let mut fence = fence.map_err(|_| "a thread panics".to_owned())??;
    ok(locked, "lock")?;
    check!(!early, "lock came back before the fence was signalled");
    check!(fence.is_closed(), "the fence is still open");
    unlock(&imported)
}

fn closes_fence(suite: &Suite, mapper: &Mapper) -> Checked {
    let buffer = allocate(suite, &plain())?;
    let imported = import(mapper, &buffer.raw)?;
    for (handle, usage) in [(imported.handle, 0), (null(), CPU), (buffer.raw.pointer(), CPU)] {
        let (mut fence, number) = Fence::new(true)?;
        check!(mapper.lock_pointer(handle, usage, WHOLE, number).is_err(), "lock works");
        check!(fence.is_closed(), "the fence is still open");
    }
    Ok(())
}

fn bad_fence(suite: &Suite, mapper: &Mapper) -> Checked {
    let buffer = allocate(suite, &plain())?;
    let imported = import(mapper, &buffer.raw)?;
    check!(mapper.lock_pointer(imported.handle, CPU, WHOLE, 1 << 20).is_err(), "lock works");
    same!(imported.unlock().map(drop), Err(BAD_BUFFER), "unlock");
    Ok(())
}

fn release_fence(suite: &Suite, mapper: &Mapper) -> Checked {
    let buffer = allocate(suite, &plain())?;
    let imported = import(mapper, &buffer.raw)?;
    lock(&imported, CPU, buffer.stride as usize * 64 * 4)?.fill(9);
    if let Some(fence) = ok(imported.unlock(), "unlock")? {
        let mut waiting = [rustix::event::PollFd::new(&fence, rustix::event::PollFlags::IN)];
        let second = rustix::event::Timespec { tv_sec: 10, tv_nsec: 0 };
        let ready = rustix::event::poll(&mut waiting, Some(&second)).map_err(|errno| errno.to_string())?;
        same!(ready, 1, "fences that are signalled in ten seconds");
    }
    Ok(())
}

fn fence_of_transfer(suite: &Suite, mapper: &Mapper) -> Checked {
    let Some(copied) = suite.source.is_copied(&plain()) else {
        return Err(Trouble::Skipped("nobody tells whether the host has a copy".to_owned()));
    };
    let buffer = allocate(suite, &plain())?;
    let imported = import(mapper, &buffer.raw)?;
    lock(&imported, WRITE_OFTEN, 64 * 64)?.fill(2);
    same!(ok(imported.unlock(), "unlock")?.is_some(), copied, "whether there is a fence after a write");
    lock(&imported, READ_OFTEN, 64 * 64)?;
    same!(ok(imported.unlock(), "unlock")?.is_some(), false, "whether there is a fence after a read");
    Ok(())
}
