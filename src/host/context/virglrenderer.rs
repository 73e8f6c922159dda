//! [`VirglRenderer`]: virglrenderer as the renderer of a device, for contexts of virgl, venus and the kernel drivers of GPUs.

mod fences;
mod resource;
mod sys;
mod unclaimed;
mod worker;

use crate::host::fence::Fence;
use crate::host::renderer::{
    BlobParameters, Foreign, RenderContext, RenderError, Rendered, Renderer, RendererCapset, Taken, Timeline,
};
use crate::host::resolver::{Export, ExportKind};
use crate::wire::virgl::{Command, CommandHeader, PipeResourceCreate, PipeResourceSetType, PlaneLayout};
use crate::{Layout, wire};
use fences::Fences;
use resource::{Kind, Texture, is_flat, leaving_layout, shown_layout};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use sys::{FD_TYPE_DMABUF, FD_TYPE_SHM};
use thiserror::Error;
use unclaimed::Unclaimed;
use worker::Worker;
use zerocopy::IntoBytes;

/// `VIRTIO_GPU_CAPSET_VENUS` and `VIRTIO_GPU_CAPSET_DRM`.
const CAPSET_ID_VENUS: u32 = 4;
const CAPSET_ID_DRM: u32 = 6;

bitflags::bitflags! {
    /// Kinds of contexts that virglrenderer can be started for.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Kinds: u32 {
        /// OpenGL: capsets 1 and 2.
        const VIRGL = 1;
        /// Vulkan: capset 4. A process of virglrenderer's own draws, `virgl_render_server`.
        const VENUS = 2;
        /// The kernel interface of the host's own GPU: capset 6.
        const DRM = 4;
    }
}

impl Kinds {
    fn capset_ids(self) -> Vec<u32> {
        let each = [
            (Self::VIRGL, vec![wire::virgl::CAPSET_ID_VIRGL, wire::virgl::CAPSET_ID_VIRGL2]),
            (Self::VENUS, vec![CAPSET_ID_VENUS]),
            (Self::DRM, vec![CAPSET_ID_DRM]),
        ];
        each.into_iter().filter(|(kind, _)| self.contains(*kind)).flat_map(|(_, ids)| ids).collect()
    }
}

/// Why there is no virglrenderer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[allow(missing_docs)]
pub enum OpenError {
    #[error("virglrenderer 0.10 or later: {0}")]
    Library(String),
    #[error("virglrenderer is used in this process already, and keeps its state in the process")]
    Twice,
    #[error("{0}: {1}")]
    Node(PathBuf, String),
    #[error("virglrenderer does not start, its code is {0}: what it printed says why")]
    Init(i32),
    #[error("virglrenderer makes no contexts of what was asked for: what it printed says why")]
    NoCapset,
    #[error("a thread for virglrenderer: {0}")]
    Thread(String),
}

/// virglrenderer, loaded when this is opened. A process can have one.
pub struct VirglRenderer {
    worker: Arc<Worker>,
    capsets: Vec<RendererCapset>,
    taken: Arc<AtomicBool>,
    of_gl: Arc<OfGl>,
}

/// The contexts that draw by GL, in this process.
#[derive(Default)]
struct OfGl(Mutex<BTreeSet<u32>>);

impl OfGl {
    fn ids(&self) -> MutexGuard<'_, BTreeSet<u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where a fence lies in the library. Contexts of GL have one ring, and what they draw is behind the library's own fences too; one
    /// of theirs would be touched by the library's thread after the context has gone.
    fn timeline(&self, timeline: Timeline) -> Timeline {
        match timeline {
            Timeline::Ring { ctx_id, ring_idx: 0 } if self.ids().contains(&ctx_id) => Timeline::Global,
            other => other,
        }
    }
}

/// A capset of which a context can be made: the library has that of venus also where its server does not start. What was asked for and
/// is not there is an error in the log, which programs show that say nothing else.
fn working_capset(library: &sys::Library, id: u32) -> Option<RendererCapset> {
    const CONTEXT: u32 = 1;
    let Some(capset) = library.capset(id) else {
        log::error!("capset {id} is not offered: this virglrenderer does not have it here");
        return None;
    };
    if let Err(error) = library.create_context(CONTEXT, id, "probe") {
        log::error!("capset {id} is not offered: {error}");
        return None;
    }
    library.destroy_context(CONTEXT);
    Some(capset)
}

impl VirglRenderer {
    /// Loads and starts it for these kinds of contexts: on a DRM render node, or on EGL without a surface, where GL may be drawn by
    /// the CPU.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(kinds: Kinds, node: Option<PathBuf>) -> Result<Self, OpenError> {
        let (worker, started) = Self::start(kinds, node)?;
        let ids = started.capset_ids();
        let capsets = worker.call(move |library| ids.into_iter().filter_map(|id| working_capset(library, id)).collect());
        let capsets: Vec<_> = capsets.unwrap_or_default();
        if capsets.is_empty() {
            return Err(OpenError::NoCapset);
        }
        Ok(Self { worker: Arc::new(worker), capsets, taken: Arc::default(), of_gl: Arc::default() })
    }
}

impl VirglRenderer {
    /// Starts it for as many of these kinds as work together: the library starts for all that it is told, or not at all, and a GPU of
    /// another make has no contexts of `DRM`.
    fn start(kinds: Kinds, node: Option<PathBuf>) -> Result<(Worker, Kinds), OpenError> {
        let mut wanted = kinds;
        loop {
            match Worker::start(wanted, node.clone()) {
                Ok(worker) => return Ok((worker, wanted)),
                Err(error @ OpenError::Init(_)) => {
                    let optional = [Kinds::DRM, Kinds::VENUS].into_iter().find(|kind| wanted.contains(*kind));
                    let Some(without) = optional.filter(|kind| wanted != *kind) else { return Err(error) };
                    log::error!("capsets {:?} are not offered, and tried without: {error}", without.capset_ids());
                    wanted.remove(without);
                }
                Err(error) => return Err(error),
            }
        }
    }
}

impl Renderer for VirglRenderer {
    fn take(&self) -> Option<Taken> {
        Taken::new(&self.taken)
    }

    fn capsets(&self) -> &[RendererCapset] {
        &self.capsets
    }

    fn context(&self, id: u32, capset_id: u32, name: &str) -> Result<Box<dyn RenderContext>, RenderError> {
        let name = name.to_owned();
        self.worker.call(move |library| library.create_context(id, capset_id, &name))??;
        let of_gl = (!matches!(capset_id, CAPSET_ID_VENUS | CAPSET_ID_DRM)).then(|| self.of_gl.clone());
        if let Some(of_gl) = &of_gl {
            of_gl.ids().insert(id);
        }
        Ok(Box::new(Context {
            worker: self.worker.clone(),
            id,
            is_apart: capset_id == CAPSET_ID_VENUS,
            unclaimed: of_gl.is_some().then(Unclaimed::default),
            memories: BTreeSet::new(),
            opaque: BTreeMap::new(),
            of_gl,
        }))
    }

    fn texture(&self, id: u32, texture: &PipeResourceCreate) -> Result<(Arc<dyn Rendered>, Option<Layout>), RenderError> {
        let created = *texture;
        self.worker.call(move |library| library.create_resource(id, &created))??;
        let shown = shown_layout(texture);
        let size_bytes = shown.map_or(0, |layout| layout.size_bytes);
        let kind = if is_flat(texture) { Kind::Flat } else { Kind::Other };
        Ok((Arc::new(Texture::new(self.worker.clone(), id, size_bytes, kind, shown, false)), shown))
    }

    fn adopt(&self, id: u32, memory: Foreign, size_bytes: u64) -> Result<Arc<dyn Rendered>, RenderError> {
        let kind = memory.name();
        let pages = match memory {
            Foreign::Exported(Export { fd, kind: ExportKind::DmaBuf }) => {
                self.worker.call(move |library| library.import_dma_buf(id, fd, size_bytes))??;
                None
            }
            Foreign::Exported(_) => return Err(RenderError::NoDmaBuf(kind)),
            Foreign::Pages(pages) => {
                let list = sys::PageList::new(pages);
                let made = self.worker.call(move |library| library.create_guest_blob(id, &list, size_bytes).map(|()| list));
                Some(made??)
            }
        };
        let resource = Texture::new(self.worker.clone(), id, size_bytes, Kind::Memory, None, true);
        resource.keep_pages(pages);
        Ok(Arc::new(resource))
    }

    fn fence(&self, timeline: Timeline) -> Fence {
        self.worker.fence(self.of_gl.timeline(timeline))
    }

    fn is_busy(&self, timeline: Timeline) -> bool {
        self.worker.fences().is_busy(self.of_gl.timeline(timeline))
    }
}

/// A context of the library.
struct Context {
    worker: Arc<Worker>,
    id: u32,
    /// Whether it draws in a process of its own, which gets resources as descriptors.
    is_apart: bool,
    /// Those of GL, where it is one of them.
    of_gl: Option<Arc<OfGl>>,
    /// What blobs may claim, in a context of virgl.
    unclaimed: Option<Unclaimed>,
    /// What is attached as memory in a context of virgl.
    memories: BTreeSet<u32>,
    /// Blobs that a context elsewhere has made and nobody else can have.
    opaque: BTreeMap<u32, Weak<Texture>>,
}

/// How a resource comes to a context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// As it is.
    AsItIs,
    /// As memory that a context of virgl makes a texture of.
    Typed,
    /// As a descriptor for another process.
    Sent,
}

impl Way {
    /// Whether the library does that with what leaves as this kind, `None` for nothing. It does not say so itself: it sends nothing, and
    /// refuses the stream that makes a texture, after which the context draws no more.
    fn check(self, kind: Option<u32>) -> Result<(), RenderError> {
        const OPAQUE: &str = "memory that only its driver understands";
        match (self, kind) {
            (Self::AsItIs, _) | (_, Some(FD_TYPE_DMABUF)) | (Self::Sent, Some(FD_TYPE_SHM)) => Ok(()),
            (Self::Typed, None) => Err(RenderError::NoDmaBuf("nothing")),
            (Self::Typed, Some(FD_TYPE_SHM)) => Err(RenderError::NoDmaBuf("shared memory")),
            (_, Some(_)) => Err(RenderError::NoDmaBuf(OPAQUE)),
            (Self::Sent, None) => Err(RenderError::NoDescriptor),
        }
    }
}

/// A stream in whole words of 64 bits, the last one filled up.
fn words(stream: &[u8]) -> Vec<u64> {
    let whole = stream.chunks(8).map(|bytes| {
        let mut word = [0; 8];
        word.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        u64::from_ne_bytes(word)
    });
    whole.collect()
}

/// Takes a resource that was attached as memory from a context of virgl. What the context does not know to be a texture by now, because
/// another one has said so, the library looks for among the context's textures, does not find there, and leaves among its memories
/// beyond the resource's end. So the context is told; one that takes no streams any more, after an error, has to go.
fn detach_memory(library: &sys::Library, fences: &Fences, ctx_id: u32, resource_id: u32) {
    if library.texture(resource_id).is_some() {
        // Nothing of it is used but the number: it is a texture.
        let set = PipeResourceSetType { res_handle: resource_id.into(), ..PipeResourceSetType::default() };
        let header =
            CommandHeader::new(Command::PipeResourceSetType, size_of::<PipeResourceSetType>() + size_of::<PlaneLayout>());
        let stream = [header.as_bytes(), set.as_bytes(), PlaneLayout::default().as_bytes()].concat();
        if library.submit(ctx_id, words(&stream), stream.len() / 4).is_err() {
            library.destroy_context(ctx_id);
            fences.forget_context(ctx_id);
        }
    }
    library.detach(ctx_id, resource_id);
}

impl RenderContext for Context {
    fn submit(&mut self, stream: &[u8]) -> Result<(), RenderError> {
        if stream.is_empty() {
            return Ok(());
        }
        if !stream.len().is_multiple_of(4) {
            return Err(RenderError::Unaligned(stream.len()));
        }
        let (id, dwords, whole) = (self.id, stream.len() / 4, words(stream));
        let is_of_gl = self.of_gl.is_some();
        let submitted = self.worker.call(move |library| {
            if is_of_gl {
                library.draws_in(id);
            }
            library.submit(id, whole, dwords)
        });
        let submitted = submitted.and_then(|submitted| submitted);
        if let Some(unclaimed) = &mut self.unclaimed {
            unclaimed.executed(stream, submitted.is_ok());
        }
        submitted
    }

    fn attach(&mut self, resource_id: u32, resource: &dyn Rendered) -> Result<(), RenderError> {
        let id = self.id;
        let is_own = self.opaque.get(&resource_id).is_some_and(|blob| blob.strong_count() > 0);
        let way = match (self.is_apart, self.unclaimed.is_some() && resource.is_memory()) {
            (true, _) if !is_own => Way::Sent,
            (false, true) => Way::Typed,
            _ => Way::AsItIs,
        };
        if way == Way::AsItIs {
            self.worker.post(move |library| library.attach(id, resource_id));
            return Ok(());
        }
        let attached = self.worker.call(move |library| {
            way.check(library.export_blob(resource_id).ok().map(|(_, kind)| kind))?;
            library.attach(id, resource_id);
            Ok(())
        });
        if way == Way::Typed && attached == Ok(Ok(())) {
            self.memories.insert(resource_id);
        }
        attached?
    }

    fn detach(&mut self, resource_id: u32) {
        let (id, fences) = (self.id, self.worker.fences().clone());
        self.opaque.remove(&resource_id);
        if self.memories.remove(&resource_id) {
            self.worker.post(move |library| detach_memory(library, &fences, id, resource_id));
        } else {
            self.worker.post(move |library| library.detach(id, resource_id));
        }
    }

    fn blob(&mut self, blob: &BlobParameters) -> Result<(Arc<dyn Rendered>, Option<Layout>), RenderError> {
        let (ctx_id, BlobParameters { resource_id, blob_id, size_bytes, flags }) = (self.id, *blob);
        let claimed = self.unclaimed.as_mut().and_then(|unclaimed| unclaimed.claim(blob_id));
        let is_flat = claimed == Some(true);
        let kind = match self.unclaimed {
            Some(_) if is_flat => Kind::Flat,
            Some(_) => Kind::Other,
            None => Kind::Memory,
        };
        let is_apart = self.is_apart;
        let made = self.worker.call(move |library| {
            library.create_blob(resource_id, ctx_id, blob_id, flags, size_bytes)?;
            let exported = is_apart.then(|| library.export_blob(resource_id).ok()).flatten();
            let is_opaque = exported.is_some_and(|(_, kind)| Way::Sent.check(Some(kind)).is_err());
            let texture = is_flat.then(|| library.texture(resource_id)).flatten();
            let leaving =
                texture.and_then(|texture| leaving_layout(&texture, &library.export_texture(texture.tex_id)?, size_bytes));
            Ok((texture.and_then(|texture| shown_layout(&texture.into())), leaving, is_opaque))
        });
        let made = made.and_then(|made| made);
        if let (Some(unclaimed), Err(_), Some(_)) = (&mut self.unclaimed, &made, claimed) {
            unclaimed.lose();
        }
        let (shown, leaving, is_opaque) = made?;
        let texture = Arc::new(Texture::new(self.worker.clone(), resource_id, size_bytes, kind, shown, leaving.is_some()));
        if is_opaque {
            self.opaque.retain(|_, blob| blob.strong_count() > 0);
            self.opaque.insert(resource_id, Arc::downgrade(&texture));
        }
        Ok((texture, leaving.or(shown)))
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        let (id, fences) = (self.id, self.worker.fences().clone());
        if let Some(of_gl) = &self.of_gl {
            of_gl.ids().remove(&id);
        }
        self.worker.post(move |library| {
            library.destroy_context(id);
            fences.forget_context(id);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `VIRGL_RENDERER_BLOB_FD_TYPE_OPAQUE`.
    const FD_TYPE_OPAQUE: u32 = 2;

    #[test]
    fn a_resource_comes_to_a_context_where_the_library_brings_it_there_only() {
        let kinds = [Some(FD_TYPE_DMABUF), Some(FD_TYPE_OPAQUE), Some(FD_TYPE_SHM), None];
        let taken = |way: Way| kinds.map(|kind| way.check(kind).is_ok());
        assert_eq!(taken(Way::AsItIs), [true; 4]);
        assert_eq!(taken(Way::Typed), [true, false, false, false]);
        assert_eq!(taken(Way::Sent), [true, false, true, false]);
    }
}
