//! The gralloc module's locks.

use super::gralloc::{CPU, WHOLE, alloc};
use crate::case::{Case, Checked, check, of_gralloc, ok, open, same};
use crate::library::{Gralloc, Suite};
use crate::sys::fence::Fence;
use crate::sys::memory::Bytes;
use std::ptr::null;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use virgbm_android_handle::HalFormat as F;

pub const CASES: &[Case] = &[
    of_gralloc("locks nest, and an unlock too many is refused", nested),
    of_gralloc("a lock without the CPU, outside, or of a bad handle is refused", lock_negative),
    of_gralloc("YCbCr_420_888 is locked with lock_ycbcr alone", flexible),
    of_gralloc("lock_ycbcr tells where luma and chroma are, and zeroes what is reserved", ycbcr),
    of_gralloc("lock_ycbcr without the CPU tells offsets", ycbcr_offsets),
    of_gralloc("lock_ycbcr of RGB is refused, and nothing is locked", ycbcr_negative),
    of_gralloc("lockAsync and lockAsync_ycbcr wait for a fence that is not signalled yet", waits_for_fences),
    of_gralloc("the forms with fences wait, close and give them", fences),
];

const EINVAL: i32 = -libc::EINVAL;

fn nested(_: &Suite, gralloc: &Gralloc) -> Checked {
    let device = open(gralloc)?;
    let (handle, _) = alloc(&device, F::RGBA_8888)?;
    let first = ok(gralloc.lock(handle, CPU, WHOLE), "lock")?;
    let second = ok(gralloc.lock(handle, 0x3, [8, 8, 8, 8]), "lock again")?;
    let unlocks = [gralloc.unlock(handle), gralloc.unlock(handle), gralloc.unlock(handle)];
    device.free(handle);
    same!(second, first, "the address");
    same!(unlocks, [Ok(()), Ok(()), Err(EINVAL)], "unlock");
    Ok(())
}

fn lock_negative(_: &Suite, gralloc: &Gralloc) -> Checked {
    let device = open(gralloc)?;
    let (handle, _) = alloc(&device, F::RGBA_8888)?;
    let refused = [
        gralloc.lock(handle, 0, WHOLE),
        gralloc.lock(handle, 0x100, WHOLE),
        gralloc.lock(handle, CPU, [0, 0, 65, 64]),
        gralloc.lock(handle, CPU, [-1, 0, 8, 8]),
        gralloc.lock(handle, CPU, [8, 8, -8, 8]),
        gralloc.lock(handle, CPU, [64, 64, i32::MAX, i32::MAX]),
        gralloc.lock(null(), CPU, WHOLE),
    ];
    let unlocked = gralloc.unlock(handle);
    device.free(handle);
    check!(refused.iter().all(|outcome| *outcome == Err(EINVAL)), "the outcomes are {refused:?}");
    same!(unlocked, Err(EINVAL), "unlock");
    same!(gralloc.lock(handle, CPU, WHOLE).map(drop), Err(EINVAL), "lock of a freed handle");
    Ok(())
}

fn flexible(_: &Suite, gralloc: &Gralloc) -> Checked {
    let device = open(gralloc)?;
    let (handle, _) = alloc(&device, F::YCBCR_420_888)?;
    let plain = gralloc.lock(handle, CPU, WHOLE).map(drop);
    let flexible = gralloc.lock_ycbcr(handle, CPU, WHOLE, None).map(drop);
    let unlocks = [gralloc.unlock(handle), gralloc.unlock(handle)];
    device.free(handle);
    same!((plain, flexible), (Err(EINVAL), Ok(())), "lock and lock_ycbcr");
    same!(unlocks, [Ok(()), Err(EINVAL)], "unlock");
    Ok(())
}

fn ycbcr(_: &Suite, gralloc: &Gralloc) -> Checked {
    let device = open(gralloc)?;
    for format in [F::YCBCR_420_888, F::YV12] {
        let (handle, _) = alloc(&device, format)?;
        let planes = ok(gralloc.lock_ycbcr(handle, CPU, WHOLE, None), "lock_ycbcr")?;
        let (y, cb, cr) = (planes.y.addr(), planes.cb.addr(), planes.cr.addr());
        check!(y != 0 && cb >= y + 64 * 64 && cr >= y + 64 * 64 && cb != cr, "the planes are {planes:?}");
        check!(planes.ystride >= 64 && planes.cstride >= 32 && matches!(planes.chroma_step, 1 | 2), "the planes are {planes:?}");
        same!(planes.reserved, [0; 8], "what is reserved");
        for (address, stride, step, width, height) in
            [(planes.y, planes.ystride, 1, 64, 64), (planes.cb, planes.cstride, planes.chroma_step, 32, 32)]
        {
            let bytes = Bytes::new(address, (height - 1) * stride + (width - 1) * step + 1);
            bytes.fill(format as usize);
            same!(bytes.differs(format as usize), None, "the first byte that is not as written");
        }
        same!(gralloc.unlock(handle), Ok(()), "unlock");
        device.free(handle);
    }
    Ok(())
}

fn ycbcr_offsets(_: &Suite, gralloc: &Gralloc) -> Checked {
    let device = open(gralloc)?;
    let (handle, _) = alloc(&device, F::YV12)?;
    let planes = ok(gralloc.lock_ycbcr(handle, 0, WHOLE, None), "lock_ycbcr")?;
    let info = ok(gralloc.info(handle), "perform")?;
    same!(gralloc.unlock(handle), Ok(()), "unlock");
    device.free(handle);
    let [y, cr, cb, _] = info.offset.map(|offset| offset as usize);
    same!((planes.y.addr(), planes.cb.addr(), planes.cr.addr()), (y, cb, cr), "the offsets");
    Ok(())
}

fn ycbcr_negative(_: &Suite, gralloc: &Gralloc) -> Checked {
    let device = open(gralloc)?;
    let (handle, _) = alloc(&device, F::RGBA_8888)?;
    let refused = gralloc.lock_ycbcr(handle, CPU, WHOLE, None).map(drop);
    let unlocked = gralloc.unlock(handle);
    device.free(handle);
    same!((refused, unlocked), (Err(EINVAL), Err(EINVAL)), "lock_ycbcr and unlock");
    same!(gralloc.lock_ycbcr(null(), CPU, WHOLE, None).map(drop), Err(EINVAL), "lock_ycbcr of null");
    Ok(())
}

fn waits_for_fences(_: &Suite, gralloc: &Gralloc) -> Checked {
    let device = open(gralloc)?;
    for format in [F::RGBA_8888, F::YCBCR_420_888] {
        let (handle, _) = alloc(&device, format)?;
        let (mut fence, number) = Fence::new(false)?;
        let signalled = AtomicBool::new(false);
        let (locked, early) = std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(50));
                signalled.store(true, Ordering::SeqCst);
                fence.signal()
            });
            let locked = match format {
                F::RGBA_8888 => gralloc.lock_async(handle, CPU, WHOLE, number).map(drop),
                _ => gralloc.lock_ycbcr(handle, CPU, WHOLE, Some(number)).map(drop),
            };
            (locked, !signalled.load(Ordering::SeqCst))
        });
        let unlocked = gralloc.unlock(handle);
        device.free(handle);
        same!((locked, unlocked), (Ok(()), Ok(())), "the lock and unlock of format {format:#x}");
        check!(!early, "the lock of format {format:#x} came back before the fence was signalled");
        check!(fence.is_closed(), "the fence is still open");
    }
    Ok(())
}

fn fences(_: &Suite, gralloc: &Gralloc) -> Checked {
    let device = open(gralloc)?;
    let (plain, _) = alloc(&device, F::RGBA_8888)?;
    let (flexible, _) = alloc(&device, F::YCBCR_420_888)?;
    let mut fences = Vec::new();
    let mut fence = || -> Result<i32, String> {
        let (fence, number) = Fence::new(true)?;
        fences.push(fence);
        Ok(number)
    };
    let outcomes = [
        gralloc.lock_async(plain, CPU, WHOLE, fence()?).map(drop),
        gralloc.lock_ycbcr(flexible, CPU, WHOLE, Some(fence()?)).map(drop),
        gralloc.unlock_async(plain).map(drop),
        gralloc.unlock_async(flexible).map(drop),
        gralloc.lock_async(plain, 0, WHOLE, fence()?).map(drop),
        gralloc.lock_ycbcr(null(), CPU, WHOLE, Some(fence()?)).map(drop),
        gralloc.unlock_async(plain).map(drop),
    ];
    device.free(plain);
    device.free(flexible);
    same!(outcomes, [Ok(()), Ok(()), Ok(()), Ok(()), Err(EINVAL), Err(EINVAL), Err(EINVAL)], "the outcomes");
    let open = fences.iter_mut().filter_map(|fence| (!fence.is_closed()).then_some(())).count();
    same!(open, 0, "fences that are still open");
    Ok(())
}
