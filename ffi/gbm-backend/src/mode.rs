//! How a device is served.

use virgbm_gbm_core::trace;

/// `VIRGBM_GBM_MODE=native|filter|pass`: for those who look for a fault, or know better.
const VARIABLE: &str = "VIRGBM_GBM_MODE";

/// How a device is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// By the guest library alone. EGL draws on no such device, and says so.
    Native,
    /// By Mesa's backend with the guest library in front: EGL finds what it knows.
    Filter,
    /// By the loader's next backend.
    Pass,
}

impl Mode {
    /// All of them, by the words of the variable.
    const NAMES: [(&str, Self); 3] = [("native", Self::Native), ("filter", Self::Filter), ("pass", Self::Pass)];

    /// The mode that the environment asks for.
    pub fn asked_for() -> Option<Self> {
        let value = std::env::var_os(VARIABLE).filter(|value| !value.is_empty())?;
        let mode = Self::NAMES.iter().find(|(name, _)| value == *name).map(|(_, mode)| *mode);
        if mode.is_none() {
            trace::note(format_args!("  {VARIABLE}={}: native, filter or pass", value.display()));
        }
        mode
    }
}
