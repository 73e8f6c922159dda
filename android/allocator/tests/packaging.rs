//! What Android's build, its init, its service manager and SELinux are told says the same as the code and Cargo.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use virgbm_android_allocator::{INSTANCE, MAPPER_SUFFIX};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The modules of Android.bp, each the text between its braces.
fn modules() -> Vec<String> {
    read("Android.bp").split("\n}\n").filter(|module| module.contains("name: ")).map(str::to_owned).collect()
}

/// The strings of a property, which is a string or a list of them.
fn strings(module: &str, property: &str) -> Vec<String> {
    let Some((_, value)) = module.split_once(&format!("    {property}: ")) else { return Vec::new() };
    let value = if value.starts_with('[') { value.split_once(']').unwrap().0 } else { value.lines().next().unwrap() };
    value.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

/// What Cargo takes for a crate on Android, as Android's tree names it.
fn dependencies(manifest: &str) -> BTreeSet<String> {
    let text = read(manifest);
    let tables = text.split("\n[").filter(|table| {
        table.starts_with("dependencies]") || table.starts_with("target.'cfg(target_os = \"android\")'.dependencies]")
    });
    let lines = tables.flat_map(|table| table.lines().skip(1)).filter(|line| line.contains(" = ") && !line.contains("optional"));
    let names = lines.map(|line| line.split(" = ").next().unwrap());
    names
        .map(|name| match name {
            "drm" | "log" => format!("lib{name}_rust"),
            _ => format!("lib{}", name.replace('-', "_")),
        })
        .collect()
}

#[test]
fn every_file_that_the_build_names_is_there() {
    for module in modules() {
        for property in ["srcs", "init_rc", "vintf_fragments", "license_text"] {
            for file in strings(&module, property).iter().filter(|file| !file.starts_with(':')) {
                let folder = file.split("/**").next().unwrap();
                assert!(root().join(folder).exists(), "{file}");
            }
        }
    }
}

#[test]
fn each_module_has_the_crates_that_cargo_has() {
    for (crates, manifest) in [
        (&["libvirgbm"][..], "Cargo.toml"),
        (&["libvirgbm_android_abi"], "android/abi/Cargo.toml"),
        (&["libvirgbm_android_handle"], "android/handle/Cargo.toml"),
        (&["mapper.virgbm"], "android/mapper/Cargo.toml"),
        (&["gralloc.virgbm"], "android/gralloc0/Cargo.toml"),
        (&["libvirgbm_android_allocator", "android.hardware.graphics.allocator-service.virgbm"], "android/allocator/Cargo.toml"),
    ] {
        let of_crate = |module: &String| crates.contains(&strings(module, "name")[0].as_str());
        let modules: Vec<String> = modules().into_iter().filter(of_crate).collect();
        assert_eq!(modules.len(), crates.len(), "{crates:?}");
        let told: BTreeSet<String> = modules.iter().flat_map(|module| strings(module, "rustlibs")).collect();
        let own = BTreeSet::from(["libvirgbm_android_allocator".to_owned()]);
        assert_eq!(told.difference(&own).cloned().collect::<BTreeSet<_>>(), dependencies(manifest), "{manifest}");
    }
}

#[test]
fn the_service_has_one_name() {
    let name = format!("android.hardware.graphics.allocator-service.{MAPPER_SUFFIX}");
    let packaging = |ending: &str| read(&format!("android/packaging/{name}.{ending}"));
    assert!(modules().iter().any(|module| strings(module, "name") == [name.as_str()]));
    assert!(packaging("rc").contains(&format!(" /vendor/bin/hw/{name}\n")));
    assert!(packaging("rc").contains(&format!("interface aidl {INSTANCE}\n")));
    let (package, interface) = INSTANCE.rsplit_once('.').unwrap();
    let manifest = packaging("xml");
    assert!(manifest.contains(&format!("<name>{package}</name>\n        <version>2</version>")));
    assert!(manifest.contains(&format!("<fqname>{interface}</fqname>")));
    assert!(read("android/packaging/sepolicy/file_contexts").contains(&format!("/hw/{} ", name.replace('.', "\\."))));
}

#[test]
fn the_mapper_has_one_name() {
    let name = format!("mapper.{MAPPER_SUFFIX}");
    assert!(modules().iter().any(|module| strings(module, "stem") == [name.as_str()]));
    assert!(read(&format!("android/packaging/{name}.xml")).contains(&format!("<instance>{MAPPER_SUFFIX}</instance>")));
    assert!(read("android/packaging/sepolicy/service_contexts").contains(&format!("mapper/{MAPPER_SUFFIX} ")));
    assert!(read("android/packaging/sepolicy/file_contexts").contains(&format!("/hw/mapper\\.{MAPPER_SUFFIX}\\.so ")));
}
