//! The program as a person calls it.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::process::{Command, Output};

fn virgbm(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_virgbm")).args(arguments).output().unwrap()
}

fn printed(arguments: &[&str]) -> String {
    let output = virgbm(arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn refused(arguments: &[&str]) -> String {
    let output = virgbm(arguments);
    assert!(!output.status.success());
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn a_host_without_the_vulkan_device_that_is_asked_for_says_what_there_is() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("gpu");
    let arguments = ["host", "--socket", socket.to_str().unwrap(), "--resolver", "vulkan", "--vulkan-device", "no such device"];
    let text = refused(&arguments);
    assert!(text.contains("no Vulkan here") || text.contains("is \"no such device\""), "{text}");
}

#[test]
fn a_host_whose_renderer_does_not_load_says_so_and_serves_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("gpu");
    std::fs::write(directory.path().join("libvirglrenderer.so.1"), "no library").unwrap();
    let arguments = ["host", "--socket", socket.to_str().unwrap(), "--resolver", "memory", "--renderer", "virgl"];
    let mut program = Command::new(env!("CARGO_BIN_EXE_virgbm"));
    let output = program.args(arguments).env("LD_LIBRARY_PATH", directory.path()).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(
        !output.status.success() && text.contains("virglrenderer 0.10 or later: ") && text.contains("libvirglrenderer.so.1"),
        "{text}"
    );
    assert!(!socket.exists());
    assert!(refused(&["host", "--socket", "gpu", "--renderer", "gfxstream"]).contains("there are virgl, venus and drm"));
}

#[test]
fn the_demo_checks_every_byte_and_writes_a_picture_with_the_colours_that_were_drawn() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("sheet.png");
    let text = printed(&["demo", "--output", path.to_str().unwrap()]);
    for fourcc in ["XR24", "AR24", "NV12", "P010", "AB4H", "R8"] {
        assert!(text.contains(fourcc), "{text}");
    }
    assert!(text.contains("every byte drawn was seen"), "{text}");
    let decoder = png::Decoder::new(std::io::BufReader::new(std::fs::File::open(path).unwrap()));
    let mut reader = decoder.read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut pixels).unwrap();
    // The first picture starts at 12, 33 and is 320 wide: the seventh of its eight bars is blue.
    let at = (60 * info.width as usize + 12 + 260) * 4;
    assert_eq!(pixels[at..at + 4], [0, 0, 255, 255]);
}

#[test]
fn info_tells_what_the_drivers_of_this_machine_make_and_why_not_more() {
    let report: serde_json::Value = serde_json::from_str(&printed(&["info", "--host", "--json"])).unwrap();
    let (drivers, absent) = (report["drivers"].as_array().unwrap(), report["absent"].as_array().unwrap());
    assert_eq!(drivers.len() + absent.len(), 3, "{report}");
    assert!(absent.iter().all(|driver| !driver[1].as_str().unwrap().is_empty()), "{report}");
    assert!(printed(&["info", "--host", "--resolver", "memory"]).contains("Plain memory alone allocates"));
    assert!(refused(&["info", "--host", "--resolver", "opengl"]).contains("vulkan, gl, gbm and memory"));
}

#[test]
fn info_tells_parameters_capsets_backends_and_formats() {
    let text = printed(&["info"]);
    for part in ["SUPPORTED_CAPSET_IDs", "20 (virgbm)", "cross-domain  no", "guest_memory_import", "YVU420_ANDROID"] {
        assert!(text.contains(part), "{part} is missing from {text}");
    }
}

#[test]
fn info_as_json_parses_and_says_the_same() {
    let report: serde_json::Value = serde_json::from_str(&printed(&["info", "--json"])).unwrap();
    assert_eq!(report["backends"][0]["backend"], "alloc");
    assert_eq!(report["backends"][0]["chosen"], true);
    assert_eq!((&report["capsets"][0]["id"], &report["capsets"][1]["id"]), (&5.into(), &20.into()));
    let support = report["offer"]["support"].as_array().unwrap();
    let nv12 = support.iter().find(|row| row["format"] == "NV12").unwrap();
    assert_eq!((nv12["planes"].as_u64(), nv12["layout_by"].as_str()), (Some(2), Some("guest")));
}

#[test]
fn alloc_prints_the_layout_of_what_was_made() {
    let text = printed(&["alloc", "--format", "nv12", "--size", "1279x719", "--usage", "video_decoder,texture"]);
    assert!(text.contains("1      1280    920320  460800"), "{text}");
    let arguments = ["alloc", "--format", "XR24", "--size", "64x64", "--usage", "render", "--count", "3", "--json"];
    let report: serde_json::Value = serde_json::from_str(&printed(&arguments)).unwrap();
    assert_eq!(report["resource_ids"].as_array().unwrap().len(), 3);
    assert_eq!((report["round_trips"].as_u64(), report["calls"].as_u64()), (Some(1), Some(3)));
    assert_eq!(report["layout"]["planes"][0]["stride_bytes"], 256);
}

#[test]
fn a_refusal_says_why_and_fails() {
    let alloc = |format, size, usage| refused(&["alloc", "--format", format, "--size", size, "--usage", usage]);
    assert!(alloc("NV12", "64x64", "scanout").contains("NV12 is not offered for SCANOUT; the host offers it for"));
    assert!(alloc("XR24", "65535x65535", "render").contains("raise the host's quota"));
    assert!(alloc("XR24", "0x64", "render").contains("at least 1"));
    assert!(alloc("ZZZZ", "64x64", "render").contains("`virgbm info` lists them"));
    assert!(alloc("XR24", "64", "render").contains("1920x1080"));
    assert!(alloc("XR24", "64x64", "paint").contains("scanout, cursor"));
    let tiled = ["alloc", "--format", "XR24", "--size", "64x64", "--usage", "render", "--modifier", "0x100000000000001"];
    assert!(refused(&tiled).contains("asked for [0x100000000000001 (Intel)], the host offers [LINEAR]"));
}

#[test]
fn nodes_that_are_none_are_refused_by_name() {
    assert!(refused(&["info", "--node", "/dev/null"]).contains("/dev/null is no DRM node"));
    assert!(refused(&["info", "--node", "/nonexistent"]).contains("/nonexistent: No such file"));
}

#[test]
fn help_teaches_with_examples() {
    let text = printed(&["--help"]);
    assert!(text.contains("virgbm alloc --format NV12 --size 1279x719"), "{text}");
    assert!(text.contains("RUST_LOG"), "{text}");
}

#[test]
fn the_environment_names_the_only_backend() {
    let info = |name: &str| Command::new(env!("CARGO_BIN_EXE_virgbm")).arg("info").env("VIRGBM_BACKEND", name).output().unwrap();
    let nonsense = info("nonsense");
    assert!(String::from_utf8_lossy(&nonsense.stderr).contains("there are alloc, cross-domain, virgl, dumb"));
    let told = String::from_utf8(info("dumb").stdout).unwrap();
    assert!(told.contains("another one was asked for") && told.contains("the node makes no dumb buffers"), "{told}");
}
