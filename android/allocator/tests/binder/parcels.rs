//! Parcels that no client of the interface would send.

use crate::{descriptor, service};
use rsbinder::{FIRST_CALL_TRANSACTION, Interface, Parcel, Result, SIBinder};

const ALLOCATE: u32 = FIRST_CALL_TRANSACTION;
const ALLOCATE2: u32 = FIRST_CALL_TRANSACTION + 1;
const IS_SUPPORTED: u32 = FIRST_CALL_TRANSACTION + 2;

/// Sends words behind the header of a call, and gives what the service answers.
fn send(binder: &SIBinder, method: u32, words: &[i32]) -> Result<Option<Parcel>> {
    let proxy = binder.as_proxy().unwrap();
    let mut parcel = proxy.prepare_transact(true)?;
    words.iter().try_for_each(|word| parcel.write(word))?;
    proxy.submit_transact(method, &parcel, 0)
}

/// The parcel of `allocate2`, in words.
fn whole() -> Vec<i32> {
    let mut words = vec![1, 0, 128];
    words.extend([0; 32]);
    words.extend([64, 64, 1, 1, 0x33, 0, 0, 0, 0]);
    words[1] = 4 * (words.len() as i32 - 1);
    words.push(1);
    words
}

/// Whether the answer is an exception, of the service or of binder, or the `false` of `isSupported`.
fn is_refused(answer: Result<Option<Parcel>>) -> bool {
    let Ok(Some(mut reply)) = answer else { return true };
    let served = reply.read::<rsbinder::Status>().is_ok_and(|status| status.is_ok());
    !served || reply.read::<i32>().is_ok_and(|word| word == 0)
}

#[test]
fn parcels_that_are_cut_short_are_refused() {
    let binder = service().as_binder();
    let whole = whole();
    assert!(!is_refused(send(&binder, ALLOCATE2, &whole)), "the whole of it is served");
    // `isSupported` takes the same without the count.
    for (method, needed) in [(ALLOCATE, whole.len()), (ALLOCATE2, whole.len()), (IS_SUPPORTED, whole.len() - 1)] {
        for length in 0..needed {
            assert!(is_refused(send(&binder, method, &whole[..length])), "method {method}: {length} words");
        }
    }
    service().allocate2(&descriptor("", 64, 64), 1).unwrap();
}

#[test]
fn counts_without_anything_behind_them_are_refused() {
    let binder = service().as_binder();
    for count in [-2, -1, 1, 0x1000_0000, i32::MAX, i32::MIN] {
        let mut name = whole();
        name[2] = count;
        let mut options = whole();
        let at = options.len() - 2;
        options[at] = count;
        let mut size = whole();
        size[1] = count;
        for words in [name, options, size] {
            let _ = send(&binder, IS_SUPPORTED, &words);
            assert!(is_refused(send(&binder, ALLOCATE2, &words)), "{words:?}");
        }
    }
    service().allocate2(&descriptor("", 64, 64), 1).unwrap();
}

#[test]
fn every_word_may_be_anything() {
    let binder = service().as_binder();
    for at in 0..whole().len() {
        for value in [0, 1, -1, i32::MAX, i32::MIN, 0x5a5a_5a5a] {
            let mut words = whole();
            words[at] = value;
            let _ = send(&binder, IS_SUPPORTED, &words);
        }
    }
    for method in [5, 6, 1000, 16_777_212] {
        assert!(is_refused(send(&binder, method, &whole())), "there is no method {method}");
    }
    service().allocate2(&descriptor("", 64, 64), 1).unwrap();
}
