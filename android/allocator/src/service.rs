//! [`Service`]: the methods of `IAllocator`.

use crate::aidl::{AllocationResult, BufferDescriptorInfo, IAllocator, NativeHandle};
use crate::descriptor;
use rsbinder::{BinderResult, Interface, ParcelFileDescriptor, Status, StatusCode};
use virgbm_android_handle::allocate::AllocationError;
use virgbm_android_handle::{Allocator, Descriptor, Handle, Refusal};

/// The name by which Android's service manager knows the service.
pub const INSTANCE: &str = "android.hardware.graphics.allocator.IAllocator/default";

/// The mapper is `mapper.virgbm.so`: what stands between the dots.
pub const MAPPER_SUFFIX: &str = "virgbm";

/// The service. It holds no buffer: what was sent belongs to the client, and lives while somebody has a descriptor of it.
pub struct Service {
    allocator: Allocator,
}

impl Service {
    /// A service of what this makes.
    pub fn new(allocator: Allocator) -> Self {
        Self { allocator }
    }

    fn serve(&self, descriptor: &Descriptor, count: i32) -> BinderResult<AllocationResult> {
        let allocation = self.allocator.allocate(descriptor, count).map_err(|refusal| refuse(descriptor, &refusal))?;
        Ok(AllocationResult {
            stride: i32::try_from(allocation.pixel_stride).map_err(|_| StatusCode::BadValue)?,
            buffers: allocation.handles.into_iter().map(native_handle).collect(),
        })
    }
}

impl Interface for Service {}

impl IAllocator for Service {
    fn allocate(&self, sent: &[u8], count: i32) -> BinderResult<AllocationResult> {
        let descriptor = descriptor::from_bytes(sent);
        let descriptor = descriptor.map_err(|bad| exception(AllocationError::BadDescriptor, bad.to_string()))?;
        self.serve(&descriptor, count)
    }

    fn allocate2(&self, sent: &BufferDescriptorInfo, count: i32) -> BinderResult<AllocationResult> {
        self.serve(&descriptor::from_parcel(sent), count)
    }

    fn isSupported(&self, sent: &BufferDescriptorInfo) -> BinderResult<bool> {
        let supported = self.allocator.supports(&descriptor::from_parcel(sent));
        if let Err(refusal) = &supported {
            log::debug!("not supported: {refusal}");
        }
        Ok(supported.is_ok())
    }

    fn getIMapperLibrarySuffix(&self) -> BinderResult<String> {
        Ok(MAPPER_SUFFIX.into())
    }
}

fn native_handle(handle: Handle) -> NativeHandle {
    let (fds, ints) = handle.into_parts();
    NativeHandle { fds: fds.into_iter().map(ParcelFileDescriptor::new).collect(), ints }
}

fn refuse(descriptor: &Descriptor, refusal: &Refusal) -> Status {
    let error = refusal.error();
    let Descriptor { width, height, layer_count, format, usage, .. } = descriptor;
    let name = descriptor.name();
    log::warn!(
        "{error:?} for {name:?}, {width}x{height} with {layer_count} layers, format {format:#x}, usage {usage:#x}: {refusal}"
    );
    exception(error, refusal.to_string())
}

/// The exception that clients of `IAllocator` know; the message says what is missing.
fn exception(error: AllocationError, message: String) -> Status {
    Status::new_service_specific_error(error as i32, Some(message))
}
