//! `VIRGBM_TRACE=1`: every call on the standard error stream, with its arguments, its outcome and the reason.
//!
//! Off, it costs a look at one flag. A door that another door of this library goes through prints no line of its own: its reason
//! is told by the outer one.

use crate::Failure;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::io::Write;
use std::sync::OnceLock;

static ENABLED: OnceLock<bool> = OnceLock::new();

thread_local! {
    static DEPTH: Cell<usize> = const { Cell::new(0) };
    static REASON: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Whether calls are traced: the environment is asked once.
pub fn enabled() -> bool {
    *ENABLED.get_or_init(|| std::env::var_os("VIRGBM_TRACE").is_some_and(|value| !value.is_empty() && value != "0"))
}

/// Prints a line that belongs to no outcome, such as what was thought of a backend.
pub fn note(line: fmt::Arguments<'_>) {
    if enabled() {
        // Whoever closed the stream does not want it.
        let _unheard = writeln!(std::io::stderr(), "virgbm: {line}");
    }
}

/// A call that is under way.
pub(crate) struct Call(());

/// Begins a call; `None` when nothing is traced.
pub(crate) fn begin() -> Option<Call> {
    enabled().then(|| {
        DEPTH.set(DEPTH.get() + 1);
        Call(())
    })
}

/// Runs the caller's own code in the midst of a door: the calls that it makes are traced as any others.
pub fn callback<T>(run: impl FnOnce() -> T) -> T {
    let depth = DEPTH.replace(0);
    let result = run();
    DEPTH.set(depth);
    result
}

impl Call {
    /// Ends the call with its outcome.
    pub fn end<T: fmt::Debug>(self, name: &str, arguments: fmt::Arguments<'_>, value: &T, failure: Option<&Failure>) {
        let inner = REASON.take();
        let depth = DEPTH.get();
        DEPTH.set(depth.saturating_sub(1));
        match failure {
            Some(failure) if depth > 1 => REASON.set(Some(inner.unwrap_or_else(|| failure.to_string()))),
            None if depth > 1 => REASON.set(inner),
            None => {
                let reason = inner.map_or_else(String::new, |reason| format!(": {reason}"));
                note(format_args!("{name}({arguments}) = {value:?}{reason}"));
            }
            Some(failure) => {
                let errno = std::io::Error::from_raw_os_error(failure.errno());
                let reason = inner.unwrap_or_else(|| failure.to_string());
                note(format_args!("{name}({arguments}) = {value:?}, {errno}: {reason}"));
            }
        }
    }
}
