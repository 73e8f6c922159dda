//! Guests whose contexts virglrenderer draws for, in the same process: what contexts do, and images of ours in them. Skipped where the
//! library, its GL or its Vulkan is missing, and sharing also where nothing of ours leaves as a dma-buf: without udmabuf and a GPU. In a
//! guest of tests/rig/build renderer all of it runs.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod contexts;
mod held;
mod images;
mod sharing_venus;
mod sharing_virgl;
mod venus;
mod virgl;

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use virgbm::guest::node::loopback::{Loopback, LoopbackOptions};
use virgbm::guest::node::{BlobCreate, BlobFlags, BlobMem, Execbuffer, Node};
use virgbm::host::renderer::Timeline;
use virgbm::host::virglrenderer::{Kinds, OpenError, VirglRenderer};
use virgbm::host::{Fence, MemoryResolver, Renderer, Resolver};
use virgbm::wire::virtio_gpu::{self as wire, Command, CtrlHdr, Reply, ResourceId, Submit3d};
use zerocopy::{FromBytes, IntoBytes};

/// The library, and the turn to use it: a process has one, and that has one guest's numbers at a time.
struct Turn {
    renderer: Arc<dyn Renderer>,
    _turn: MutexGuard<'static, ()>,
}

/// `None`, with a word about it, where there is no virglrenderer that draws.
fn turn() -> Option<Turn> {
    static RENDERER: OnceLock<Result<Arc<VirglRenderer>, OpenError>> = OnceLock::new();
    static TURN: Mutex<()> = Mutex::new(());
    match RENDERER.get_or_init(|| VirglRenderer::open(Kinds::VIRGL | Kinds::VENUS, None).map(Arc::new)) {
        Ok(renderer) => Some(Turn { renderer: renderer.clone(), _turn: TURN.lock().unwrap_or_else(PoisonError::into_inner) }),
        Err(error) => {
            eprintln!("skipped: {error}");
            None
        }
    }
}

impl Drop for Turn {
    /// The next test, or the end of the process, finds the library at rest.
    fn drop(&mut self) {
        let rests = self.renderer.fence(Timeline::Global).wait(PATIENCE);
        assert!(rests || std::thread::panicking());
    }
}

impl Turn {
    /// A device that draws, with plain memory.
    fn options(&self) -> LoopbackOptions {
        LoopbackOptions { renderer: Some(self.renderer.clone()), ..LoopbackOptions::default() }
    }

    /// The same with a resolver before plain memory.
    fn node(&self, resolver: Option<Box<dyn Resolver>>) -> Loopback {
        let plain: Box<dyn Resolver> = Box::new(MemoryResolver::new());
        let resolvers = resolver.into_iter().chain([plain]).collect();
        Loopback::with_options(LoopbackOptions { resolvers, ..self.options() }).unwrap()
    }
}

/// How long a fence may take; a test that waits longer has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// A blob of the guest's pages.
const GUEST_BLOB: BlobCreate<'static> =
    BlobCreate { mem: BlobMem::Guest, flags: BlobFlags::MAPPABLE, size: 4096, blob_id: 0, command: &[] };

/// EXECBUFFER of a stream that uses these handles.
fn submit(node: &Loopback, stream: &[u8], handles: &[u32], ring_idx: Option<u32>) {
    let submission = Execbuffer { command: stream, bo_handles: handles, ring_idx, ..Execbuffer::default() };
    node.execbuffer(&submission).unwrap();
}

/// A command behind the driver's back.
fn send(node: &Loopback, command: Command, ctx_id: u32, parts: &[&[u8]]) -> Reply {
    let request = [&[CtrlHdr::command(command, ctx_id).as_bytes()], parts].concat().concat();
    let mut reply = Vec::new();
    node.host().execute(&request, &mut reply);
    Reply::from_number(CtrlHdr::read_from_prefix(&reply).unwrap().0.ctype.get()).unwrap()
}

/// SUBMIT_3D of a stream, behind the driver's back.
fn stream(node: &Loopback, ctx_id: u32, bytes: &[u8]) -> Reply {
    let body = Submit3d { size: (bytes.len() as u32).into(), ..Submit3d::default() };
    send(node, Command::Submit3d, ctx_id, &[body.as_bytes(), bytes])
}

/// The fence of a submission of nothing, on a ring or on the device's own timeline. The answer is there before its time.
fn fence(node: &Loopback, ctx_id: u32, ring_idx: Option<u8>) -> Option<Fence> {
    let ring = ring_idx.map_or(0, |_| wire::FLAG_INFO_RING_IDX);
    let header = CtrlHdr {
        flags: (wire::FLAG_FENCE | ring).into(),
        ring_idx: ring_idx.unwrap_or(0),
        ..CtrlHdr::command(Command::Submit3d, ctx_id)
    };
    let mut reply = Vec::new();
    let fence = node.host().start(&[header.as_bytes(), Submit3d::default().as_bytes()].concat(), &mut reply);
    assert_eq!(Reply::from_number(CtrlHdr::read_from_prefix(&reply).unwrap().0.ctype.get()), Some(Reply::OkNoData));
    fence
}

fn on_resource(id: u32) -> ResourceId {
    ResourceId { resource_id: id.into(), ..ResourceId::default() }
}
