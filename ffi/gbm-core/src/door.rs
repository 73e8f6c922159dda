//! The doors through which C comes in. One macro makes each of them: arguments are checked for null by their types, a panic stops
//! here, and a failure becomes its value with errno, which is set last.

#![allow(unsafe_code)]

use crate::{Failure, abi, errno, trace};
use std::any::Any;
use std::ffi::{c_char, c_int, c_void};
use std::fmt;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;
use virgbm::{Format, Modifier};

/// An argument of a door, made from what C passes.
pub trait FromC: Sized {
    /// What C passes.
    type Raw: Copy + fmt::Debug;

    /// Checks it.
    ///
    /// # Errors
    /// [`Failure::Null`] for a pointer that must not be null.
    ///
    /// # Safety
    /// A pointer is null, or points to what the header says, which lives and stays where it is during the call.
    unsafe fn from_c(raw: Self::Raw, name: &'static str) -> Result<Self, Failure>;
}

/// Numbers, and pointers that may be null, are taken as they are.
macro_rules! as_it_is {
    ($([$($generic:ident)?] $type:ty),+) => {
        $(impl$(<$generic>)? FromC for $type {
            type Raw = Self;

            unsafe fn from_c(raw: Self, _: &'static str) -> Result<Self, Failure> {
                Ok(raw)
            }
        })+
    };
}

as_it_is!([] bool, [] u32, [] i32, [] usize, [] Format, [] Modifier, [] abi::Flags, [T] *mut T, [T] *const T);
as_it_is!([] Option<abi::DestroyUserData>);

/// A pointer that must not be null, to be written to or passed on.
impl<T> FromC for NonNull<T> {
    type Raw = *mut T;

    unsafe fn from_c(raw: *mut T, name: &'static str) -> Result<Self, Failure> {
        NonNull::new(raw).ok_or(Failure::Null(name))
    }
}

/// What stands behind a pointer of the ABI.
///
/// # Safety
/// `locate` gives a pointer to a value of this type that lives as long as the public structure.
pub unsafe trait Object {
    /// The structure that C knows.
    type Public;

    /// Finds the object that has this public structure.
    ///
    /// # Safety
    /// The pointer came from this library, which has not freed it.
    unsafe fn locate(public: NonNull<Self::Public>) -> NonNull<Self>;
}

/// Makes structures objects that C points to themselves.
#[macro_export]
macro_rules! public {
    ($($type:ty),+ $(,)?) => {
        $(
            // SAFETY: the structure is the object.
            unsafe impl $crate::door::Object for $type {
                type Public = Self;

                unsafe fn locate(public: ::std::ptr::NonNull<Self>) -> ::std::ptr::NonNull<Self> {
                    public
                }
            }
        )+
    };
}

public!(abi::Device, abi::Bo, abi::Surface, abi::Backend, abi::Core, abi::ImportFd, abi::ImportFdModifier, abi::ImportFdPlanar);

/// An object that C has given, alive during the call.
pub struct Given<T: Object> {
    public: NonNull<T::Public>,
    object: NonNull<T>,
}

impl<T: Object> Given<T> {
    /// The public structure, to be passed on.
    pub fn as_ptr(&self) -> *mut T::Public {
        self.public.as_ptr()
    }
}

impl<T: Object> FromC for Given<T> {
    type Raw = *mut T::Public;

    unsafe fn from_c(raw: *mut T::Public, name: &'static str) -> Result<Self, Failure> {
        let public = NonNull::new(raw).ok_or(Failure::Null(name))?;
        // SAFETY: it is not null, and the caller promises that it is what the header says.
        let object = unsafe { T::locate(public) };
        Ok(Self { public, object })
    }
}

impl<T: Object> Deref for Given<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: `from_c` found it, and whoever called that promised that it lives during the call.
        unsafe { self.object.as_ref() }
    }
}

/// Goes through a door: runs the body, and turns what comes of it into what C gets.
pub fn enter<T: fmt::Debug>(
    name: &str,
    arguments: fmt::Arguments<'_>,
    failed: impl FnOnce(&Failure) -> T,
    body: impl FnOnce() -> Result<T, Failure>,
) -> T {
    let call = trace::begin();
    // What the body has borrowed is C's, or behind locks that do not stay poisoned.
    let outcome = catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|panic| Err(Failure::Panic(message(&*panic))));
    let (value, failure) = match outcome {
        Ok(value) => (value, None),
        Err(failure) => (failed(&failure), Some(failure)),
    };
    if let Some(call) = call {
        call.end(name, arguments, &value, failure.as_ref());
    }
    if let Some(failure) = failure {
        errno::set(failure.errno());
    }
    value
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic".to_owned())
}

/// What a backend answers, with the errno that it leaves.
pub struct Answer<T> {
    /// What it gives.
    pub value: T,
    errno: c_int,
}

/// Calls a backend: what is in errno afterwards is the backend's, or what was there before.
pub fn ask<T>(call: impl FnOnce() -> T) -> Answer<T> {
    let before = errno::get();
    errno::set(0);
    let value = call();
    let errno = errno::get();
    if errno == 0 {
        errno::set(before);
    }
    Answer { value, errno }
}

impl<T> Answer<T> {
    /// The answer, unless it stands for failure.
    ///
    /// # Errors
    /// [`Failure::Backend`] with the backend's errno, EIO where it left none.
    pub fn unless(self, failed: impl FnOnce(&T) -> bool) -> Result<T, Failure> {
        let errno = if self.errno == 0 { libc::EIO } else { self.errno };
        if failed(&self.value) { Err(Failure::Backend(errno)) } else { Ok(self.value) }
    }
}

/// A list that C has given with its length; an empty one where the pointer is null.
///
/// # Safety
/// A pointer that isn't null points to `count` elements, which live during the call.
pub unsafe fn slice<'a, T>(pointer: *const T, count: usize) -> &'a [T] {
    if pointer.is_null() || count == 0 {
        return &[];
    }
    // SAFETY: it is not null, and the caller promises that `count` elements are there.
    unsafe { std::slice::from_raw_parts(pointer, count) }
}

/// The string that a `char` pointer of a backend points to.
///
/// # Safety
/// A pointer that isn't null points to a string that ends with a zero.
pub unsafe fn string(pointer: *const c_char) -> String {
    if pointer.is_null() {
        return String::new();
    }
    // SAFETY: it is not null, and the caller promises a string.
    unsafe { std::ffi::CStr::from_ptr(pointer) }.to_string_lossy().into_owned()
}

/// The argument of an import, by its type.
///
/// # Errors
/// [`Failure::Null`].
///
/// # Safety
/// A pointer that isn't null points to a `T`.
pub unsafe fn argument<T: Object<Public = T> + Copy>(pointer: *mut c_void) -> Result<T, Failure> {
    // SAFETY: the caller promises it.
    let given = unsafe { Given::<T>::from_c(pointer.cast(), "buffer") }?;
    Ok(*given)
}

/// Makes a door: a C function whose body gives a `Result`, and the value that stands for failure after `or`; `-errno` is that of the
/// failure.
#[macro_export]
macro_rules! door {
    (
        $(#[$meta:meta])*
        $vis:vis fn $name:ident($($argument:ident: $type:ty),* $(,)?) -> $result:ty, or -errno, $body:block
    ) => {
        $crate::door! {
            @with |failure| -failure.errno(), $(#[$meta])* $vis fn $name($($argument: $type),*) -> $result, $body
        }
    };
    (
        $(#[$meta:meta])*
        $vis:vis fn $name:ident($($argument:ident: $type:ty),* $(,)?) -> $result:ty, or $failed:expr, $body:block
    ) => {
        $crate::door! { @with |_| $failed, $(#[$meta])* $vis fn $name($($argument: $type),*) -> $result, $body }
    };
    (
        @with |$failure:pat_param| $failed:expr,
        $(#[$meta:meta])*
        $vis:vis fn $name:ident($($argument:ident: $type:ty),*) -> $result:ty, $body:block
    ) => {
        $(#[$meta])*
        ///
        /// # Safety
        /// Pointers are null, or point to what `gbm.h` says, alive during the call.
        $vis unsafe extern "C" fn $name($($argument: <$type as $crate::door::FromC>::Raw),*) -> $result {
            let arguments = [$(&$argument as &dyn ::std::fmt::Debug),*];
            let listed = $crate::door::Listed(&arguments);
            let failed = |$failure: &$crate::Failure| $failed;
            $crate::door::enter(stringify!($name), format_args!("{listed}"), failed, move || {
                $(
                    // SAFETY: it is this function's promise.
                    let $argument = unsafe { <$type as $crate::door::FromC>::from_c($argument, stringify!($argument)) }?;
                )*
                $body
            })
        }
    };
}

/// Makes a door that the library exports by its name.
#[macro_export]
macro_rules! exported {
    ($(#[$meta:meta])* fn $($rest:tt)*) => {
        $crate::door! {
            $(#[$meta])*
            #[unsafe(no_mangle)]
            pub fn $($rest)*
        }
    };
}

/// Calls a function of a table that is the field `v0` of something.
#[macro_export]
macro_rules! dispatch {
    ($device:expr, $function:ident($($argument:expr),*)) => {{
        let function = $device.v0.$function.ok_or($crate::Failure::Missing(stringify!($function)))?;
        // SAFETY: the function is the table's of the object's own device, and the arguments are what C promises them to be.
        $crate::door::ask(|| unsafe { function($($argument),*) })
    }};
}

/// Arguments of a call, with commas between.
pub struct Listed<'a>(pub &'a [&'a dyn fmt::Debug]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, argument) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{argument:?}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    crate::door! {
        /// Panics for 0, and fails for 1.
        fn half(number: u32) -> u32, or u32::MAX, {
            match number {
                0 => panic!("nothing to halve"),
                1 => Err(Failure::NoFrame),
                _ => Ok(number / 2),
            }
        }
    }

    crate::door! {
        /// The same, in the kernel's way.
        fn half_or_errno(number: u32) -> i32, or -errno, {
            if number == 1 { Err(Failure::NoFrame) } else { Ok(number as i32 / 2) }
        }
    }

    crate::door! {
        /// What is behind a pointer.
        fn width(bo: Given<abi::Bo>) -> u32, or 0, {
            Ok(bo.width)
        }
    }

    #[test]
    fn a_panic_and_a_failure_stop_at_the_door() {
        let call = |number| {
            errno::set(0);
            // SAFETY: there are no pointers.
            (unsafe { half(number) }, errno::get())
        };
        assert_eq!(call(8), (4, 0));
        assert_eq!(call(1), (u32::MAX, libc::ENOSYS));
        assert_eq!(call(0), (u32::MAX, libc::EIO));
        // SAFETY: there are no pointers.
        assert_eq!((unsafe { half_or_errno(1) }, errno::get()), (-libc::ENOSYS, libc::ENOSYS));
        // SAFETY: the same.
        assert_eq!(unsafe { half_or_errno(8) }, 4);
    }

    #[test]
    fn a_null_is_found() {
        // SAFETY: it is null.
        assert_eq!((unsafe { width(std::ptr::null_mut()) }, errno::get()), (0, libc::EINVAL));
    }

    #[test]
    fn an_answer_has_an_errno_in_any_case() {
        errno::set(libc::EPERM);
        let failure = ask(|| -1).unless(|value| *value < 0).unwrap_err();
        assert_eq!((failure.errno(), errno::get()), (libc::EIO, libc::EPERM));
        let failure = ask(|| errno::set(libc::EBUSY)).unless(|()| true).unwrap_err();
        assert_eq!(failure.errno(), libc::EBUSY);
    }
}
