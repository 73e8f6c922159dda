//! [`Measured`]: layouts that only a driver knows, and tells only of an image that it has made.

use super::ResolveError;
use crate::{BufferRequest, Format, Layout, Modifier, Usage};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// The layouts that are kept; a guest that asks for more sizes has them measured again.
const MOST: usize = 1024;

/// What a layout depends on.
type Key = (Format, Modifier, Usage, [u32; 3]);

/// Layouts by request.
#[derive(Default)]
pub struct Measured(Mutex<BTreeMap<Key, Layout>>);

impl Measured {
    /// The layout of a request, which `measure` finds out by making an image where it is not known.
    ///
    /// # Errors
    /// Those of `measure`.
    pub fn layout(
        &self,
        request: &BufferRequest,
        modifier: Modifier,
        measure: impl FnOnce() -> Result<Layout, ResolveError>,
    ) -> Result<Layout, ResolveError> {
        let key = (request.format, modifier, request.usage, [request.width, request.height, request.layers]);
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&key).copied();
        if let Some(layout) = known {
            return Ok(layout);
        }
        let layout = measure()?;
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST {
            known.clear();
        }
        known.insert(key, layout);
        Ok(layout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Alignment;

    fn request(width: u32) -> BufferRequest {
        BufferRequest::new(Format::R8, width, 1, Usage::TEXTURE)
    }

    fn measure(request: &BufferRequest) -> Result<Layout, ResolveError> {
        Ok(Layout::linear(request, Alignment::PACKED)?)
    }

    #[test]
    fn a_size_is_measured_once() {
        let measured = Measured::default();
        let mut count = 0;
        for width in [1, 2, 1, 2, 1] {
            let layout = measured.layout(&request(width), Modifier::LINEAR, || {
                count += 1;
                measure(&request(width))
            });
            assert_eq!(layout.unwrap().width, width);
        }
        assert_eq!(count, 2);
    }

    #[test]
    fn a_failure_is_not_kept_and_sizes_without_end_take_no_memory() {
        let measured = Measured::default();
        let refused = || Err(ResolveError::NoResolver("a test"));
        assert!(measured.layout(&request(1), Modifier::LINEAR, refused).is_err());
        for width in 1..3000 {
            measured.layout(&request(width), Modifier::LINEAR, || measure(&request(width))).unwrap();
        }
        assert!(measured.0.lock().unwrap().len() <= MOST);
    }
}
