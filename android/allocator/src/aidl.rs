//! The interface, which the build makes of `aidl/`.

#![allow(missing_docs)]

include!(concat!(env!("OUT_DIR"), "/allocator_aidl.rs"));

pub use android::hardware::common::NativeHandle::NativeHandle;
pub use android::hardware::graphics::allocator::AllocationResult::AllocationResult;
pub use android::hardware::graphics::allocator::BufferDescriptorInfo::BufferDescriptorInfo;
pub use android::hardware::graphics::allocator::IAllocator::{BnAllocator, IAllocator};
pub use android::hardware::graphics::common::ExtendableType::ExtendableType;
