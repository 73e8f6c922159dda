//! What the host was asked about requests: each question once, also when many threads ask it at the same time.

use crate::BufferRequest;
use crate::guest::error::Error;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// How many answers are kept: more than a desktop has sizes.
const CAPACITY: usize = 256;

/// An answer; its lock is held by whoever asks.
type Answer<T> = Arc<Mutex<Option<T>>>;

pub(super) struct Answers<T>(Mutex<HashMap<BufferRequest, Answer<T>>>);

impl<T> Default for Answers<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Copy> Answers<T> {
    /// The answer to `request`, from `ask` the first time. An error is told and not kept.
    pub fn get(&self, request: BufferRequest, ask: impl FnOnce(&BufferRequest) -> Result<T, Error>) -> Result<T, Error> {
        let answer = {
            let mut answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if answers.len() >= CAPACITY && !answers.contains_key(&request) {
                answers.clear();
            }
            answers.entry(request.clone()).or_default().clone()
        };
        let mut answer = answer.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = *answer {
            return Ok(known);
        }
        let told = ask(&request)?;
        *answer = Some(told);
        Ok(told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Alignment, Format, Layout, Usage};
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn request(width: u32) -> BufferRequest {
        BufferRequest::new(Format::R8, width, 1, Usage::TEXTURE)
    }

    #[test]
    fn many_threads_ask_once() {
        let (cache, asked) = (Answers::<Layout>::default(), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let layout = cache.get(request(5), |request| {
                        asked.fetch_add(1, Ordering::Relaxed);
                        std::thread::sleep(std::time::Duration::from_millis(5));
                        Ok(Layout::linear(request, Alignment::PACKED)?)
                    });
                    assert_eq!(layout.unwrap().size_bytes, 5);
                });
            }
        });
        assert_eq!(asked.into_inner(), 1);
    }

    #[test]
    fn an_error_is_asked_again() {
        let cache = Answers::<Layout>::default();
        assert!(cache.get(request(1), |_| Err(Error::NotMappable)).is_err());
        assert!(cache.get(request(1), |request| Ok(Layout::linear(request, Alignment::PACKED)?)).is_ok());
    }

    #[test]
    fn the_cache_is_bounded() {
        let cache = Answers::<Layout>::default();
        for width in 1..1000 {
            cache.get(request(width), |request| Ok(Layout::linear(request, Alignment::PACKED)?)).unwrap();
        }
        assert!(cache.0.lock().unwrap().len() <= CAPACITY);
    }
}
