//! The arrows of the house point one way: read from the `use` lines of the source itself.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// A module by its path from the crate's root, such as `["guest", "node"]`.
type Module = Vec<String>;

/// Each module's source, without its tests.
fn sources() -> BTreeMap<Module, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = BTreeMap::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let inside = path.strip_prefix(&root).unwrap().to_owned();
            if path.is_dir() {
                if !inside.starts_with("bin") {
                    folders.push(path);
                }
            } else if !inside.ends_with("tests.rs") && !inside.ends_with("test_rig.rs") {
                let text = fs::read_to_string(&path).unwrap();
                let code = text.split("#[cfg(test)]").next().unwrap().to_owned();
                found.insert(module_of(&inside), code);
            }
        }
    }
    found
}

fn module_of(path: &Path) -> Module {
    let path: PathBuf = path.with_extension("");
    let parts: Module = path.iter().map(|part| part.to_str().unwrap().to_owned()).collect();
    if parts == ["lib"] { Module::new() } else { parts }
}

/// The paths of a module's `use` lines that name this crate, from its root, groups taken apart.
fn used_paths(module: &Module, code: &str) -> Vec<Module> {
    let mut paths = Vec::new();
    for statement in code.split(';') {
        let start = statement.lines().position(|line| line.starts_with("use ") || line.starts_with("pub use "));
        let Some(start) = start else { continue };
        let text: String = statement.lines().skip(start).collect::<Vec<_>>().join(" ");
        let tree = text.split_once("use ").unwrap().1;
        for path in flatten(tree) {
            paths.extend(from_root(module, &path));
        }
    }
    paths
}

/// `a::{b, c::d as e}` -> `a::b`, `a::c::d`.
fn flatten(tree: &str) -> Vec<String> {
    let Some((prefix, group)) = tree.split_once('{') else {
        return vec![tree.split(" as ").next().unwrap().trim().to_owned()];
    };
    let group = group.trim_end().strip_suffix('}').unwrap();
    let (mut items, mut depth, mut item) = (Vec::new(), 0, String::new());
    for letter in group.chars() {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                items.push(std::mem::take(&mut item));
                continue;
            }
            _ => {}
        }
        item.push(letter);
    }
    items.push(item);
    let items = items.iter().map(|item| item.trim()).filter(|item| !item.is_empty());
    items.flat_map(|item| flatten(&format!("{}{item}", prefix.trim()))).collect()
}

fn from_root(module: &Module, path: &str) -> Option<Module> {
    let mut parts = path.split("::").map(str::trim);
    let mut from = match parts.next()? {
        "crate" => Module::new(),
        "super" => module[..module.len() - 1].to_vec(),
        "self" => module.clone(),
        _ => return None,
    };
    for part in parts.filter(|part| *part != "self") {
        if part == "super" {
            from.pop();
        } else {
            from.push(part.to_owned());
        }
    }
    Some(from)
}

/// Where a path leads: the longest module that starts it, or the module that a re-export on the way names.
fn target(sources: &BTreeMap<Module, String>, path: &Module) -> Module {
    let longest = (0..=path.len()).rev().map(|length| path[..length].to_vec()).find(|head| sources.contains_key(head));
    let module = longest.unwrap();
    let Some(name) = path.get(module.len()) else { return module };
    let exported = sources[&module].lines().collect::<Vec<_>>().join(" ");
    for statement in exported.split(';').filter_map(|statement| statement.split_once("pub use ")) {
        for inner in flatten(statement.1) {
            let inner: Module = inner.split("::").map(|part| part.trim().to_owned()).collect();
            if inner.last() == Some(name) && inner.len() > 1 && inner[0] != "crate" {
                return target(sources, &[module.clone(), inner].concat());
            }
        }
    }
    module
}

/// What each module uses, re-exports followed.
fn arrows() -> BTreeMap<Module, BTreeSet<Module>> {
    let sources = sources();
    let arrow = |(module, code): (&Module, &String)| {
        let targets = used_paths(module, code).iter().map(|path| target(&sources, path)).collect();
        (module.clone(), targets)
    };
    sources.iter().filter(|(module, _)| !module.is_empty()).map(arrow).collect()
}

/// The layer of a module: which others it may stand on, besides its own.
fn may_use(module: &Module) -> &'static [&'static str] {
    // From the ground up: a layer stands on those before it.
    const HOUSE: &[&str] = &["format", "modifier", "usage", "wire", "sys", "request", "layout", "support", "offer", "pixel"];
    const LOOPBACK: &[&str] = &["format", "wire", "sys", "host", "guest"];
    let below = |count: usize| &HOUSE[..count];
    match module.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["format" | "modifier" | "usage" | "wire" | "sys", ..] => below(4),
        ["request", ..] => below(4),
        ["layout", ..] => below(6),
        ["support" | "pixel", ..] => below(7),
        ["offer", ..] => below(8),
        ["guest", "node", "loopback", ..] => LOOPBACK,
        ["guest", ..] => below(9),
        ["host", ..] => below(10),
        _ => panic!("{} has no place in the house", module.join("::")),
    }
}

#[test]
fn every_arrow_points_to_a_layer_below() {
    for (module, targets) in arrows() {
        for target in targets.iter().filter(|target| target.first().is_some_and(|head| *head != module[0])) {
            let allowed = may_use(&module).contains(&target[0].as_str());
            assert!(allowed, "{} must not use {}", module.join("::"), target.join("::"));
        }
    }
}

#[test]
fn only_the_loopback_knows_both_sides() {
    for (module, targets) in arrows() {
        let knows =
            |side: &str| module[0] == side || targets.iter().any(|target| target.first().is_some_and(|head| head == side));
        if knows("guest") && knows("host") {
            let loopback = ["guest", "node", "loopback"].map(str::to_owned);
            assert!(module.starts_with(&loopback), "{} knows both sides", module.join("::"));
        }
    }
}

/// A module of the second level, such as `host::context`; what is below belongs to it.
fn room(module: &Module) -> Module {
    module[..module.len().min(2)].to_vec()
}

#[test]
fn the_modules_of_a_side_have_no_cycles() {
    let mut rooms: BTreeMap<Module, BTreeSet<Module>> = BTreeMap::new();
    for (module, targets) in arrows() {
        let from = room(&module);
        let targets = targets.iter().map(room).filter(|to| to.len() == 2 && *to != from);
        rooms.entry(from.clone()).or_default().extend(targets);
    }
    // Takes away, again and again, the rooms that use none of those left: what stays goes round in circles.
    loop {
        let left: BTreeSet<_> = rooms.keys().cloned().collect();
        let before = rooms.len();
        rooms.retain(|_, targets| targets.iter().any(|target| left.contains(target)));
        if rooms.len() == before {
            break;
        }
    }
    let circle: Vec<_> = rooms.keys().map(|room| room.join("::")).collect();
    assert!(circle.is_empty(), "these use each other in a circle: {}", circle.join(", "));
}

#[test]
fn the_libraries_of_others_stand_on_the_guest_side_only() {
    let mut folders = ["ffi", "chromeos", "android"].map(|folder| Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)).to_vec();
    let mut seen = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                // Their tests and benches bring a host along, and so do the rigs of their unit tests.
                folders.extend(Some(path).filter(|path| !path.ends_with("tests") && !path.ends_with("benches")));
            } else if path.extension().is_some_and(|ending| ending == "rs") && !path.ends_with("test_rig.rs") {
                let text = fs::read_to_string(&path).unwrap();
                assert!(!text.contains("virgbm::host"), "{} knows the host", path.display());
                seen += 1;
            }
        }
    }
    assert!(seen > 0);
}

#[test]
fn the_use_lines_are_understood() {
    assert_eq!(flatten("crate::{a::{b, c as d}, e}"), ["crate::a::b", "crate::a::c", "crate::e"]);
    let module = Module::from(["host", "device"].map(str::to_owned));
    assert_eq!(from_root(&module, "super::quota::Amount").unwrap(), ["host", "quota", "Amount"]);
    let sources = sources();
    let path = ["host", "Amount"].map(str::to_owned).to_vec();
    assert_eq!(target(&sources, &path), ["host", "quota"]);
    let arrows = arrows();
    assert!(arrows[&module].contains(&Module::from(["host", "resolver"].map(str::to_owned))));
}
