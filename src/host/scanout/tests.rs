use crate::host::test_rig::*;
use crate::host::{DeviceConfig, DeviceError, Features, GuestMemory};
use crate::wire::virtio_gpu::{self as wire, Command, CtrlHdr, Reply};
use zerocopy::FromBytes;

/// A guest with a screen of 64x48.
fn with_screen() -> Guest {
    let config = DeviceConfig { scanout: Some((64, 48)), ..DeviceConfig::default() };
    Guest::with_config(config)
}

fn rect(x: u32, y: u32, width: u32, height: u32) -> wire::Rect {
    wire::Rect { x: x.into(), y: y.into(), width: width.into(), height: height.into() }
}

fn set_scanout(guest: &Guest, scanout: u32, id: u32, rect: wire::Rect) -> Reply {
    let body = wire::SetScanout { rect, scanout_id: scanout.into(), resource_id: id.into() };
    guest.command(Command::SetScanout, 0, body, &[])
}

#[test]
fn the_screen_is_announced() {
    let guest = with_screen();
    assert_eq!(guest.device.config_space().num_scanouts.get(), 1);
    let (header, body) = guest.send(CtrlHdr::command(Command::GetDisplayInfo, 0), &[]);
    let info = wire::DisplayInfo::read_from_bytes(&body).unwrap();
    assert_eq!((header.ctype.get(), body.len()), (0x1101, 408 - 24));
    assert_eq!((info.modes[0].rect, info.modes[0].enabled.get(), info.modes[1].enabled.get()), (rect(0, 0, 64, 48), 1, 0));
}

fn get_edid(guest: &Guest, scanout: u32) -> (u32, Vec<u8>) {
    let (header, body) = guest.send(CtrlHdr::command(Command::GetEdid, 0), &[&scanout.to_le_bytes(), &[0; 4]]);
    (header.ctype.get(), body)
}

#[test]
fn the_screen_tells_of_itself_as_large_as_it_is() {
    let (kind, body) = get_edid(&with_screen(), 0);
    assert_eq!((kind, body.len()), (0x1104, 1056 - 24));
    assert_eq!(body[..8], [128, 0, 0, 0, 0, 0, 0, 0]);
    // Behind 8 bytes of the reply the block, in it the preferred mode at 54, in that the sides.
    assert_eq!((body[8 + 54 + 2], body[8 + 54 + 5]), (64, 48));
    assert!(body[8 + 128..].iter().all(|byte| *byte == 0));
}

#[test]
fn who_asks_for_an_edid_that_is_not_there_is_refused() {
    let refused = |config, scanout| {
        let (kind, body) = get_edid(&Guest::bare(config, vec![]), scanout);
        assert!(body.is_empty());
        Reply::from_number(kind).unwrap()
    };
    let screen = |width, height| DeviceConfig { scanout: Some((width, height)), ..DeviceConfig::default() };
    for scanout in [1, 16, u32::MAX] {
        assert_eq!(refused(screen(64, 48), scanout), Reply::ErrInvalidScanoutId);
    }
    assert_eq!(refused(DeviceConfig::default(), 0), Reply::ErrInvalidScanoutId);
    assert_eq!(refused(screen(4096, 2160), 0), Reply::ErrUnspec, "it is too wide for one");
    let without = DeviceConfig { features: Features::all().difference(Features::EDID), ..screen(64, 48) };
    let guest = Guest::bare(without, vec![]);
    assert_eq!(guest.device.features() & 1 << 1, 0);
    assert_eq!(refused(without, 0), Reply::ErrUnspec);
    assert_eq!(Guest::bare(screen(64, 48), vec![]).device.features() & 1 << 1, 2);
}

#[test]
fn a_screenshot_is_the_part_of_the_resource_that_is_shown() {
    let guest = with_screen();
    assert_eq!(guest.device.screenshot(0), Err(DeviceError::Dark(0)));
    guest.create_2d(7, 2, 4, 2);
    guest.attach_backing(7, 1, &[entry(8192, 32)]);
    guest.pages.write(8192, &(0..32).collect::<Vec<u8>>()).unwrap();
    let transfer = wire::TransferToHost2d { rect: rect(0, 0, 4, 2), resource_id: 7.into(), ..Default::default() };
    guest.command(Command::TransferToHost2d, 0, transfer, &[]);
    assert_eq!(set_scanout(&guest, 0, 7, rect(1, 1, 2, 1)), Reply::OkNoData);
    let flush = wire::ResourceFlush { rect: rect(1, 1, 2, 1), resource_id: 7.into(), padding: 0.into() };
    assert_eq!(guest.command(Command::ResourceFlush, 0, flush, &[]), Reply::OkNoData);
    let seen = guest.device.screenshot(0).unwrap();
    assert_eq!((seen.width, seen.height, seen.rgba), (2, 1, vec![22, 21, 20, 255, 26, 25, 24, 255]));
    guest.on_resource(Command::ResourceUnref, 0, 7);
    assert_eq!(guest.device.screenshot(0), Err(DeviceError::Dark(0)));
}

#[test]
fn a_blob_is_shown_with_the_layout_that_the_guest_says() {
    let guest = with_screen();
    guest.guest_blob(8, 8192, 4096);
    guest.pages.write(8192 + 16, &[1, 2, 3, 0]).unwrap();
    let show = |id: u32, format: u32, stride: u32, offset: u32, size: u32| {
        let body = wire::SetScanoutBlob {
            rect: rect(0, 0, 1, 1),
            resource_id: id.into(),
            width: size.into(),
            height: size.into(),
            format: format.into(),
            strides: [stride.into(), 0.into(), 0.into(), 0.into()],
            offsets: [offset.into(), 0.into(), 0.into(), 0.into()],
            ..Default::default()
        };
        guest.command(Command::SetScanoutBlob, 0, body, &[])
    };
    assert_eq!(show(8, 2, 64, 16, 2), Reply::OkNoData);
    assert_eq!(guest.device.screenshot(0).unwrap().rgba, [3, 2, 1, 255]);
    for (id, format, stride, offset, size) in
        [(8, 166, 64, 0, 2), (8, 2, 7, 0, 2), (8, 2, 64, 4090, 2), (8, 2, u32::MAX, 0, 2), (8, 2, 64, 0, 65), (8, 2, 64, 0, 0)]
    {
        assert_eq!(show(id, format, stride, offset, size), Reply::ErrInvalidParameter, "{format} {stride} {offset} {size}");
    }
    assert_eq!(show(99, 2, 64, 0, 2), Reply::ErrInvalidResourceId);
    assert_eq!(show(0, 0, 0, 0, 0), Reply::OkNoData);
    assert_eq!(guest.device.screenshot(0), Err(DeviceError::Dark(0)));
}

#[test]
fn screens_and_rectangles_that_are_not_there_are_refused() {
    let guest = with_screen();
    guest.create_2d(7, 2, 4, 2);
    for scanout in [1, 16, u32::MAX] {
        assert_eq!(set_scanout(&guest, scanout, 7, rect(0, 0, 4, 2)), Reply::ErrInvalidScanoutId);
        assert_eq!(set_scanout(&guest, scanout, 0, rect(0, 0, 0, 0)), Reply::ErrInvalidScanoutId);
    }
    assert_eq!(set_scanout(&guest, 0, 99, rect(0, 0, 4, 2)), Reply::ErrInvalidResourceId);
    assert_eq!(set_scanout(&guest, 0, RING, rect(0, 0, 4, 2)), Reply::ErrInvalidParameter, "it has no layout");
    for bad in [rect(0, 0, 5, 2), rect(1, 0, 4, 2), rect(0, 0, 0, 2), rect(u32::MAX, 0, 2, 2)] {
        assert_eq!(set_scanout(&guest, 0, 7, bad), Reply::ErrInvalidParameter);
    }
    assert_eq!(cursor(&guest, Command::UpdateCursor, 0, 7, 0, 0), Reply::OkNoData);
    assert_eq!(cursor(&guest, Command::MoveCursor, 0, 0, 0, 0), Reply::OkNoData);
    assert_eq!(cursor(&guest, Command::UpdateCursor, 0, 99, 0, 0), Reply::ErrInvalidResourceId);
    for scanout in [1, 16, u32::MAX] {
        for command in [Command::UpdateCursor, Command::MoveCursor] {
            for id in [0, 7] {
                assert_eq!(cursor(&guest, command, scanout, id, 0, 0), Reply::ErrInvalidScanoutId);
            }
        }
    }
}

fn cursor(guest: &Guest, command: Command, scanout: u32, id: u32, x: u32, y: u32) -> Reply {
    let body =
        wire::Cursor { scanout_id: scanout.into(), resource_id: id.into(), x: x.into(), y: y.into(), ..Default::default() };
    guest.command(command, 0, body, &[])
}

/// Draws a 2D resource of this format and size full of one pixel, with pages at 16384.
fn painted(guest: &Guest, id: u32, format: u32, width: u32, height: u32, pixel: [u8; 4]) {
    let bytes = width * height * 4;
    guest.create_2d(id, format, width, height);
    guest.attach_backing(id, 1, &[entry(16384, bytes)]);
    guest.pages.write(16384, &pixel.repeat((width * height) as usize)).unwrap();
    let transfer = wire::TransferToHost2d { rect: rect(0, 0, width, height), resource_id: id.into(), ..Default::default() };
    assert_eq!(guest.command(Command::TransferToHost2d, 0, transfer, &[]), Reply::OkNoData);
}

/// A guest whose screen of 64x48 is black, and whose resource 8 is a white image of 64x64 without alpha, as Linux makes it.
fn with_cursor() -> Guest {
    let guest = with_screen();
    painted(&guest, 7, 2, 64, 48, [0; 4]);
    painted(&guest, 8, 2, 64, 64, [255; 4]);
    assert_eq!(set_scanout(&guest, 0, 7, rect(0, 0, 64, 48)), Reply::OkNoData);
    guest
}

/// Left, upper, right and lower edge of what is not black on the screen, with the cursor; `None` when all of it is.
fn bright(guest: &Guest) -> Option<[usize; 4]> {
    let seen = guest.device.screenshot_with_cursor(0).unwrap();
    assert_eq!((seen.width, seen.height), (64, 48));
    let lit = seen.rgba.chunks(4).enumerate().filter(|(_, pixel)| pixel[0] > 0).map(|(at, _)| (at % 64, at / 64));
    lit.fold(None, |edges, (x, y)| {
        let [left, upper, right, lower] = edges.unwrap_or([x, y, x + 1, y + 1]);
        Some([left.min(x), upper.min(y), right.max(x + 1), lower.max(y + 1)])
    })
}

#[test]
fn the_cursor_is_where_its_corner_was_put_whatever_its_hot_spot() {
    let guest = with_cursor();
    assert_eq!(bright(&guest), None);
    let body = wire::Cursor {
        resource_id: 8.into(),
        x: 10.into(),
        y: 20.into(),
        hot_x: 5.into(),
        hot_y: 6.into(),
        ..Default::default()
    };
    assert_eq!(guest.command(Command::UpdateCursor, 0, body, &[]), Reply::OkNoData);
    assert_eq!(bright(&guest), Some([10, 20, 64, 48]));
    let without = guest.device.screenshot(0).unwrap();
    assert!(without.rgba.chunks(4).all(|pixel| pixel == [0, 0, 0, 255]), "a plain screenshot has no cursor");
    for id in [0, 7, 8, 99] {
        cursor(&guest, Command::MoveCursor, 0, id, 60, 40 + id % 8);
        assert_eq!(bright(&guest), Some([60, 40 + id as usize % 8, 64, 48]), "a move changes only the place");
    }
}

#[test]
fn the_alpha_of_a_cursor_counts_also_where_its_format_has_none() {
    let guest = with_cursor();
    cursor(&guest, Command::UpdateCursor, 0, 8, 0, 0);
    for (pixel, seen) in [([0, 0, 0, 0], [0, 0, 0, 255]), ([3, 2, 1, 255], [1, 2, 3, 255]), ([0, 0, 9, 9], [9, 0, 0, 255])] {
        guest.on_resource(Command::ResourceUnref, 0, 9);
        painted(&guest, 9, 2, 64, 64, pixel);
        cursor(&guest, Command::UpdateCursor, 0, 9, 0, 0);
        assert_eq!(guest.device.screenshot_with_cursor(0).unwrap().rgba[..4], seen);
    }
}

#[test]
fn a_cursor_is_hidden_by_the_guest_by_an_unref_and_by_a_reset() {
    let guest = with_cursor();
    let show = || cursor(&guest, Command::UpdateCursor, 0, 8, 0, 0);
    show();
    assert_eq!(cursor(&guest, Command::UpdateCursor, 0, 99, 1, 1), Reply::ErrInvalidResourceId);
    assert_eq!(bright(&guest), Some([0, 0, 64, 48]), "a refused command changes nothing");
    assert_eq!(cursor(&guest, Command::UpdateCursor, 0, 0, 0, 0), Reply::OkNoData);
    assert_eq!(bright(&guest), None);
    cursor(&guest, Command::MoveCursor, 0, 8, 3, 3);
    assert_eq!(bright(&guest), None, "a move shows nothing that is hidden");
    show();
    guest.on_resource(Command::ResourceUnref, 0, 8);
    assert_eq!(bright(&guest), None);
    painted(&guest, 8, 2, 64, 64, [255; 4]);
    assert_eq!(bright(&guest), None, "another resource of that number is not the cursor");
    show();
    guest.device.reset();
    painted(&guest, 7, 2, 64, 48, [0; 4]);
    painted(&guest, 8, 2, 64, 64, [255; 4]);
    set_scanout(&guest, 0, 7, rect(0, 0, 64, 48));
    assert_eq!(bright(&guest), None);
}

#[test]
fn a_cursor_that_is_partly_or_wholly_outside_is_cut() {
    let guest = with_cursor();
    cursor(&guest, Command::UpdateCursor, 0, 8, 0, 0);
    for (x, y, seen) in [
        (u32::MAX, u32::MAX, Some([0, 0, 63, 48])),
        (-60i32 as u32, -63i32 as u32, Some([0, 0, 4, 1])),
        (63, 47, Some([63, 47, 64, 48])),
        (64, 0, None),
        (0, 48, None),
        (-64i32 as u32, 0, None),
        (1 << 31, 1 << 31, None),
        (u32::MAX >> 1, u32::MAX >> 1, None),
    ] {
        assert_eq!(cursor(&guest, Command::MoveCursor, 0, 0, x, y), Reply::OkNoData);
        assert_eq!(bright(&guest), seen, "{x:#x} {y:#x}");
    }
}

#[test]
fn a_blob_without_a_layout_is_the_usual_cursor_where_it_is_long_enough() {
    let guest = with_cursor();
    guest.pages.write(65536, &[255; 16384]).unwrap();
    guest.guest_blob(20, 65536, 16384);
    guest.guest_blob(21, 65536, 16383);
    assert_eq!(cursor(&guest, Command::UpdateCursor, 0, 21, 10, 10), Reply::OkNoData);
    assert_eq!(bright(&guest), None, "it is left out, and the screen still there");
    cursor(&guest, Command::UpdateCursor, 0, 20, 10, 10);
    assert_eq!(bright(&guest), Some([10, 10, 64, 48]));
    guest.pages.write(65536, &[0; 16384]).unwrap();
    assert_eq!(bright(&guest), None, "its pages are read in place");
}

#[test]
fn a_dark_screen_is_dark_with_a_cursor_too() {
    let guest = with_cursor();
    cursor(&guest, Command::UpdateCursor, 0, 8, 0, 0);
    set_scanout(&guest, 0, 0, rect(0, 0, 0, 0));
    for scanout in [0, 1, usize::MAX] {
        assert_eq!(guest.device.screenshot_with_cursor(scanout), Err(DeviceError::Dark(scanout)));
    }
}
