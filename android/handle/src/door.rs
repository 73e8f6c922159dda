//! The doors through which C comes in: a panic stops here, and a failure is told and becomes its number.

use std::any::Any;
use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// A failure of a library behind a door.
pub trait Failure: Display {
    /// The number that C gets.
    fn number(&self) -> i32;

    /// The failure that a panic is.
    fn panicked(message: String) -> Self;
}

/// Goes through a door: gives 0, or the failure's number.
pub fn enter<F: Failure>(name: &str, body: impl FnOnce() -> Result<(), F>) -> i32 {
    // What the body has borrowed is C's, or behind locks that do not stay poisoned.
    let outcome = catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|panic| Err(F::panicked(message(&*panic))));
    outcome.map_or_else(
        |failure| {
            crate::logging::start();
            log::warn!("{name}: {failure}");
            failure.number()
        },
        |()| 0,
    )
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Bad(String);

    impl Failure for Bad {
        fn number(&self) -> i32 {
            self.0.len() as i32
        }

        fn panicked(message: String) -> Self {
            Self(message)
        }
    }

    #[test]
    fn a_panic_and_a_failure_stop_at_the_door() {
        assert_eq!(enter::<Bad>("door", || Ok(())), 0);
        assert_eq!(enter("door", || Err(Bad("no".to_owned()))), 2);
        assert_eq!(enter::<Bad>("door", || panic!("four")), 4);
    }
}
