//! The capsets that have a name; the allocation capset's id is configurable.

use virgbm::wire::{alloc, cross_domain, virgl};

/// A capset that programs tell of.
pub struct Capset {
    id: u32,
    name: &'static str,
    /// Whether a driver of the guest draws by it.
    draws: bool,
}

const CAPSETS: [Capset; 7] = [
    Capset { id: virgl::CAPSET_ID_VIRGL, name: "virgl", draws: true },
    Capset { id: virgl::CAPSET_ID_VIRGL2, name: "virgl2", draws: true },
    Capset { id: 3, name: "gfxstream-vulkan", draws: true },
    Capset { id: 4, name: "venus", draws: true },
    Capset { id: cross_domain::CAPSET_ID, name: "cross-domain", draws: false },
    Capset { id: 6, name: "drm", draws: true },
    Capset { id: alloc::CAPSET_ID, name: "virgbm", draws: false },
];

/// What a capset is called, where it has a name.
pub fn name(id: u32) -> Option<&'static str> {
    CAPSETS.iter().find(|capset| capset.id == id).map(|capset| capset.name)
}

/// The name, or else the number; nothing for none.
pub fn name_or_number(id: u32) -> String {
    if id == 0 { String::new() } else { name(id).map_or(id.to_string(), str::to_owned) }
}

/// The names of those in a mask of ids by which a driver of the guest draws.
pub fn that_draw(mask: u64) -> Vec<&'static str> {
    CAPSETS.iter().filter(|capset| capset.draws && mask >> capset.id & 1 != 0).map(|capset| capset.name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_draw_are_named_and_the_allocators_are_not_among_them() {
        assert_eq!(that_draw(1 << 2 | 1 << 4 | 1 << 5 | 1 << 20 | 1 << 40), ["virgl2", "venus"]);
        assert_eq!([20, 5, 19, 0].map(name_or_number), ["virgbm", "cross-domain", "19", ""]);
    }
}
