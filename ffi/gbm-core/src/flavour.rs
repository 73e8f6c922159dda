//! [`Flavour`]: whose `gbm.h` a caller was built with, and what the same numbers mean in it.

use crate::abi::Flags;
use virgbm::usage::Dialect;
use virgbm::{Format, Usage};

/// Whose `gbm.h` it is. A library has one for good: a caller's header decides which library it links.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    /// Mesa's.
    Mesa,
    /// minigbm's, of ChromeOS.
    Minigbm,
}

/// What the argument of an import is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImportKind {
    /// `struct gbm_import_fd_data`.
    Fd,
    /// `struct gbm_import_fd_modifier_data`.
    FdModifier,
    /// `struct gbm_import_fd_planar_data`, which minigbm had before its FD_MODIFIER.
    FdPlanar,
}

/// `GBM_TEST_ALLOC` of minigbm: the layout is made, the memory is not.
const TEST_ALLOC: Flags = Flags(1 << 15);

impl Flavour {
    /// Whose words its `GBM_BO_USE_*` are.
    pub const fn dialect(self) -> Dialect {
        match self {
            Self::Mesa => Dialect::Gbm,
            Self::Minigbm => Dialect::Minigbm,
        }
    }

    /// What `GBM_BO_IMPORT_*` says; `None` for what is no import of descriptors.
    pub const fn import_kind(self, number: u32) -> Option<ImportKind> {
        match (self, number) {
            (_, 0x5503) => Some(ImportKind::Fd),
            (Self::Mesa, 0x5504) | (Self::Minigbm, 0x5505) => Some(ImportKind::FdModifier),
            (Self::Minigbm, 0x5504) => Some(ImportKind::FdPlanar),
            _ => None,
        }
    }

    /// Whether only the layout of a buffer is wanted.
    pub const fn wants_no_memory(self, flags: Flags) -> bool {
        matches!(self, Self::Minigbm) && flags.contains(TEST_ALLOC)
    }

    /// Whether nobody draws a cursor but the CPU, so that RENDERING beside it is refused.
    pub const fn refuses_rendered_cursor(self, flags: Flags) -> bool {
        matches!(self, Self::Mesa) && flags.contains(Flags(Flags::CURSOR.0 | Flags::RENDERING.0))
    }

    /// What a caller who says no usage may mean besides drawing: minigbm's makes buffers for the screen so.
    pub fn unsaid(self, usage: Usage) -> Usage {
        match self {
            Self::Minigbm if usage.is_empty() => Usage::SCANOUT,
            _ => Usage::empty(),
        }
    }

    /// The format whose layout a buffer gets. A linear YVU420 of minigbm is Android's, whose strides are multiples of 16.
    pub fn laid_out_as(self, format: Format, flags: Flags) -> Format {
        let android = self == Self::Minigbm && format == Format::YVU420 && flags.contains(Flags::LINEAR);
        if android { Format::YVU420_ANDROID } else { format }
    }

    /// Whether one descriptor stands for that of every plane.
    pub const fn one_descriptor_serves_all(self) -> bool {
        matches!(self, Self::Minigbm)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_number_is_another_import() {
        assert_eq!(Flavour::Mesa.import_kind(0x5504), Some(ImportKind::FdModifier));
        assert_eq!(Flavour::Minigbm.import_kind(0x5504), Some(ImportKind::FdPlanar));
        assert_eq!(Flavour::Minigbm.import_kind(0x5505), Some(ImportKind::FdModifier));
        assert_eq!(Flavour::Mesa.import_kind(0x5505), None);
        for flavour in [Flavour::Mesa, Flavour::Minigbm] {
            assert_eq!(flavour.import_kind(0x5503), Some(ImportKind::Fd));
            assert_eq!(flavour.import_kind(0x5501), None);
        }
    }

    #[test]
    fn only_minigbm_has_buffers_without_memory() {
        assert!(Flavour::Minigbm.wants_no_memory(Flags(1 << 15 | 1)));
        assert!(!Flavour::Minigbm.wants_no_memory(Flags(1)));
        assert!(!Flavour::Mesa.wants_no_memory(Flags(1 << 15)));
    }

    #[test]
    fn only_mesa_refuses_a_cursor_that_is_drawn() {
        let drawn = Flags(Flags::CURSOR.0 | Flags::RENDERING.0);
        assert!(Flavour::Mesa.refuses_rendered_cursor(drawn));
        assert!(!Flavour::Mesa.refuses_rendered_cursor(Flags::CURSOR));
        assert!(!Flavour::Minigbm.refuses_rendered_cursor(drawn));
    }

    #[test]
    fn what_is_not_said_is_for_the_screen_in_minigbm() {
        assert_eq!(Flavour::Minigbm.unsaid(Usage::empty()), Usage::SCANOUT);
        assert_eq!(Flavour::Minigbm.unsaid(Usage::TEXTURE), Usage::empty());
        assert_eq!(Flavour::Mesa.unsaid(Usage::empty()), Usage::empty());
    }

    #[test]
    fn linear_yv12_of_minigbm_is_androids() {
        assert_eq!(Flavour::Minigbm.laid_out_as(Format::YVU420, Flags::LINEAR), Format::YVU420_ANDROID);
        assert_eq!(Flavour::Minigbm.laid_out_as(Format::YVU420, Flags(0)), Format::YVU420);
        assert_eq!(Flavour::Mesa.laid_out_as(Format::YVU420, Flags::LINEAR), Format::YVU420);
    }
}
