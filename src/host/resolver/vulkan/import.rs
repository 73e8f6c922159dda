//! Images in memory that is there already: a dma-buf of others whose layout is told, or memory of the same driver that left another
//! device of it. What is told is checked before the driver sees it.

use super::asked::Asked;
use super::image::{VulkanImage, refusal};
use super::maker::{Maker, Named, Offered, is_linear, named};
use super::sys::{CallFailed, Facts, Handle, Image as Raw, ImageSpec, Memory, MemorySpec, Tiling};
use crate::host::resolver::{ImageRefused, OpaqueMemory, ResolveError};
use crate::{BufferRequest, Layout, Plane};
use ash::vk;
use std::os::fd::BorrowedFd;
use std::sync::atomic::AtomicBool;

impl Maker {
    /// A request's image in a dma-buf of `real_bytes`, where [`foreign::check`](crate::host::resolver::foreign::check) found room for
    /// the layout. The CPU sees it by the dma-buf, not by the driver.
    pub fn import(
        &self,
        fd: BorrowedFd<'_>,
        real_bytes: u64,
        request: &BufferRequest,
        offered: &Offered,
        layout: &Layout,
    ) -> Result<VulkanImage, ResolveError> {
        let refused = |failed| refusal(failed, real_bytes);
        let places: Vec<_> = layout.planes.iter().map(|plane| place(plane, layout)).collect();
        let own = offered.spec(request, Some(Handle::DmaBuf))?;
        let tiling = match offered.modifiers.first() {
            Some(modifier) if places.len() == offered.support.plane_count as usize => {
                Tiling::Explicit { modifier: *modifier, places: &places }
            }
            Some(_) => return Err(ImageRefused::Descriptor("its modifier has another number of planes").into()),
            None => Tiling::Linear,
        };
        let spec = ImageSpec { tiling, ..own };
        let image = Raw::new(&self.device, &spec).map_err(refused)?;
        agree(&named(request, offered).layout(&image)?, layout)?;
        let requirements = image.requirements();
        if requirements.bytes > real_bytes {
            return Err(ImageRefused::Size { blob_bytes: real_bytes, image_bytes: requirements.bytes }.into());
        }
        let among = requirements.types & self.device.types_of(fd).map_err(refused)?;
        let memory = self.memory_for(&requirements, among, false, real_bytes);
        let memory = memory.ok_or(ImageRefused::Descriptor("the driver has no memory of its kind"))?;
        let memory = MemorySpec { shared: Some(Handle::DmaBuf), ..memory };
        let own = fd.try_clone_to_owned().map_err(ResolveError::Driver)?;
        let memory = Memory::new(&self.device, &memory, Some(&image), Some(fd)).map_err(refused)?;
        let made = self.bound(image, memory, &spec, offered.info, Some(layout)).map_err(refused)?;
        Ok(VulkanImage { source: Some(own), ..made })
    }

    /// What goes with the opaque descriptor of an image in such memory.
    pub fn told(
        &self,
        image: &Raw,
        spec: &ImageSpec<'_>,
        memory: &MemorySpec,
        layout: Option<&Layout>,
    ) -> Result<OpaqueMemory, CallFailed> {
        let Facts { uuid: device_uuid, driver_uuid, .. } = *self.device.facts();
        let MemorySpec { bytes: size_bytes, memory_type, dedicated, .. } = *memory;
        Ok(OpaqueMemory {
            device_uuid,
            driver_uuid,
            memory_type,
            size_bytes,
            dedicated,
            image: Asked::describe(spec),
            view_formats: spec.view_formats.iter().map(|format| format.as_raw() as u32).collect(),
            modifier: image.modifier()?,
            layout: layout.copied(),
        })
    }

    /// The image of another device, in the same memory.
    pub fn import_opaque(&self, fd: BorrowedFd<'_>, told: &OpaqueMemory) -> Result<VulkanImage, ResolveError> {
        let Facts { uuid, driver_uuid, .. } = self.device.facts();
        if (*uuid, *driver_uuid) != (told.device_uuid, told.driver_uuid) {
            return Err(ImageRefused::Descriptor("it is of another device, or another driver").into());
        }
        let modifiers: Vec<u64> = told.modifier.into_iter().collect();
        let asked = Asked::new(&told.image, &told.view_formats, &modifiers)?;
        asked.with_limits(&self.device, Some(Handle::Opaque), |spec| self.opaque(fd, &asked, spec, told))
    }

    fn opaque(
        &self,
        fd: BorrowedFd<'_>,
        asked: &Asked,
        spec: &ImageSpec<'_>,
        told: &OpaqueMemory,
    ) -> Result<VulkanImage, ResolveError> {
        let OpaqueMemory { memory_type, size_bytes: bytes, dedicated, ref layout, .. } = *told;
        let refused = |failed| refusal(failed, bytes);
        if spec.shared.is_none() {
            return Err(ImageRefused::Descriptor("the driver shares no such image").into());
        }
        let image = Raw::new(&self.device, spec).map_err(refused)?;
        let info = layout.and_then(|layout| layout.format.info()).unwrap_or(asked.info);
        if let Some(layout) = layout {
            let request = BufferRequest::new(layout.format, layout.width, layout.height, crate::Usage::TEXTURE);
            let request = request.with_layers(layout.layers);
            let (modifier, plane_count) = (layout.modifier, layout.planes.len() as u32);
            let listed = told.modifier.is_some();
            agree(&Named { request: &request, info, modifier, plane_count, listed }.layout(&image)?, layout)?;
        }
        let requirements = image.requirements();
        if bytes < requirements.bytes {
            return Err(ImageRefused::Size { blob_bytes: bytes, image_bytes: requirements.bytes }.into());
        }
        let kind = self.device.facts().memory_types.get(memory_type as usize).copied();
        let kind = kind.filter(|_| requirements.types & 1 << memory_type != 0);
        let kind =
            kind.ok_or(ImageRefused::Parameter { what: "memory type", value: memory_type, why: "the image can't have it" })?;
        let mapped = self.mapped && layout.as_ref().is_some_and(is_linear) && kind.contains(super::image::COHERENT);
        let memory = MemorySpec { bytes, memory_type, dedicated, shared: Some(Handle::Opaque), mapped };
        let memory = Memory::new(&self.device, &memory, Some(&image), Some(fd)).map_err(refused)?;
        let bound = self.bound(image, memory, spec, info, layout.as_ref()).map_err(refused)?;
        // What is in it is the exporter's, who has released it.
        Ok(VulkanImage { fresh: AtomicBool::new(false), ..bound })
    }
}

/// A plane's place in Vulkan's words, whose sizes and unused pitches are 0.
fn place(plane: &Plane, layout: &Layout) -> vk::SubresourceLayout {
    vk::SubresourceLayout {
        offset: plane.offset_bytes,
        row_pitch: plane.stride_bytes.into(),
        array_pitch: if layout.layers > 1 { layout.layer_stride_bytes } else { 0 },
        ..vk::SubresourceLayout::default()
    }
}

/// Whether the driver has its planes where they are said to be.
fn agree(own: &Layout, told: &Layout) -> Result<(), ImageRefused> {
    let why = "the driver has it elsewhere";
    for (plane, (own, told)) in own.planes.iter().zip(told.planes.iter()).enumerate() {
        let places =
            [("stride", own.stride_bytes.into(), told.stride_bytes.into()), ("offset", own.offset_bytes, told.offset_bytes)];
        for (what, own, value) in places {
            if own != value {
                return Err(ImageRefused::Plane { plane, what, value, why });
            }
        }
    }
    if own.layers > 1 && own.layer_stride_bytes != told.layer_stride_bytes {
        return Err(ImageRefused::Plane { plane: 0, what: "layer stride", value: told.layer_stride_bytes, why });
    }
    Ok(())
}
