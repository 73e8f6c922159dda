//! [`Modifier`]: how a plane is tiled or compressed, as DRM format modifiers say it.

use std::fmt;

/// A DRM format modifier (`drm_fourcc.h`): the vendor in the top byte, the vendor's code below.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(transparent)]
pub struct Modifier(u64);

/// The vendors of `drm_fourcc.h`, for people who read a modifier.
const VENDORS: &[(u8, &str)] = &[
    (0x01, "Intel"),
    (0x02, "AMD"),
    (0x03, "NVIDIA"),
    (0x04, "Samsung"),
    (0x05, "Qualcomm"),
    (0x06, "Vivante"),
    (0x07, "Broadcom"),
    (0x08, "Arm"),
    (0x09, "Allwinner"),
    (0x0a, "Amlogic"),
    (0x0b, "MediaTek"),
    (0x0c, "Apple"),
];

impl Modifier {
    /// `DRM_FORMAT_MOD_LINEAR`: rows one after the other.
    pub const LINEAR: Self = Self(0);
    /// `DRM_FORMAT_MOD_INVALID`: nobody said, the driver knows.
    pub const INVALID: Self = Self(0x00ff_ffff_ffff_ffff);

    /// The modifier with this value.
    pub const fn new(value: u64) -> Self {
        Self(value)
    }

    /// The value.
    pub const fn value(self) -> u64 {
        self.0
    }

    /// The vendor's name, `None` for LINEAR, INVALID and vendors this crate does not know.
    pub fn vendor(self) -> Option<&'static str> {
        let [vendor, ..] = self.0.to_be_bytes();
        VENDORS.iter().find(|(number, _)| *number == vendor).map(|(_, name)| *name)
    }

    /// The modifier a person names: `LINEAR`, `INVALID`, or a number, `0x` before a hexadecimal one.
    pub fn parse(text: &str) -> Option<Self> {
        if text.eq_ignore_ascii_case("linear") {
            return Some(Self::LINEAR);
        }
        if text.eq_ignore_ascii_case("invalid") {
            return Some(Self::INVALID);
        }
        let value = match text.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16),
            None => text.parse(),
        };
        value.ok().map(Self)
    }
}

impl fmt::Display for Modifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (*self, self.vendor()) {
            (Self::LINEAR, _) => f.pad("LINEAR"),
            (Self::INVALID, _) => f.pad("INVALID"),
            (Self(value), Some(vendor)) => f.pad(&format!("{value:#x} ({vendor})")),
            (Self(value), None) => f.pad(&format!("{value:#x}")),
        }
    }
}

impl fmt::Debug for Modifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_special_values_are_those_of_drm_fourcc_h() {
        assert_eq!(Modifier::LINEAR.value(), u64::from(drm_fourcc::DrmModifier::Linear));
        assert_eq!(Modifier::INVALID.value(), u64::from(drm_fourcc::DrmModifier::Invalid));
    }

    #[test]
    fn a_vendor_modifier_names_its_vendor() {
        let modifier = Modifier::new(drm_fourcc::DrmModifier::I915_y_tiled.into());
        assert_eq!(modifier.to_string(), "0x100000000000002 (Intel)");
    }

    #[test]
    fn what_is_displayed_parses_back() {
        for modifier in [Modifier::LINEAR, Modifier::INVALID, Modifier::new(0x1f00_0000_0000_0007)] {
            assert_eq!(Modifier::parse(&modifier.to_string()), Some(modifier));
        }
        assert_eq!(Modifier::parse("tiled"), None);
    }
}
