//! A guest's GL driver, as far as it fills rectangles and copies them: the stream of `virgl_protocol.h`.

use crate::images::import;
use crate::submit;
use virgbm::guest::BufferObject;
use virgbm::guest::node::loopback::Loopback;
use virgbm::guest::node::{BlobCreate, BlobFlags, BlobMem, ContextInit, Handles, Node, ResourceCreate, Transfer};
use virgbm::wire::virgl::{BIND_SHARED, CAPSET_ID_VIRGL2, CapsV2, PipeResourceSetType, PlaneLayout, VERSION_VIRGL2};
use virgbm::wire::virtio_gpu::TARGET_TEXTURE_2D;
use virgbm::{Format, Layout};
use zerocopy::{FromZeros, IntoBytes};

pub const CREATE_OBJECT: u32 = 1;
const DESTROY_OBJECT: u32 = 3;
const SET_FRAMEBUFFER_STATE: u32 = 5;
const CLEAR: u32 = 7;
const BLIT: u32 = 16;
const SET_SUB_CTX: u32 = 28;
const CREATE_SUB_CTX: u32 = 29;
pub const PIPE_RESOURCE_CREATE: u32 = 48;
pub const PIPE_RESOURCE_SET_TYPE: u32 = 49;
/// `VIRGL_OBJECT_SURFACE`, and the first colour buffer of CLEAR.
pub const SURFACE: u32 = 8;
const COLOR0: u32 = 4;
/// `VIRGL_BIND_RENDER_TARGET | VIRGL_BIND_SAMPLER_VIEW`.
pub const BIND_TARGET_AND_SAMPLED: u32 = 2 | 8;

/// What textures are called until a blob has claimed them.
const TEXTURE_BLOB_ID: u32 = 77;

/// A command: opcode, object type, and the dwords behind the first.
pub fn command(opcode: u32, object: u32, body: &[u32]) -> Vec<u32> {
    [&[opcode | object << 8 | (body.len() as u32) << 16], body].concat()
}

/// Makes a surface of a texture and fills that with a colour: red, green, blue, alpha.
pub fn clear(surface: u32, resource_id: u32, format: u32, colour: [f32; 4]) -> Vec<u32> {
    let commands = [
        command(CREATE_OBJECT, SURFACE, &[surface, resource_id, format, 0, 0]),
        command(SET_FRAMEBUFFER_STATE, 0, &[1, 0, surface]),
        clear_again(colour),
    ];
    commands.concat()
}

/// Fills what the context draws to already.
pub fn clear_again(colour: [f32; 4]) -> Vec<u32> {
    let [red, green, blue, alpha] = colour.map(f32::to_bits);
    command(CLEAR, 0, &[COLOR0, red, green, blue, alpha, 0, 0, 0])
}

/// Says what is in a resource that came as memory.
pub fn set_type(resource_id: u32, layout: &Layout) -> Vec<u32> {
    let set = PipeResourceSetType {
        res_handle: resource_id.into(),
        format: number(layout.format).into(),
        bind: (BIND_SHARED | BIND_TARGET_AND_SAMPLED).into(),
        width: layout.width.into(),
        height: layout.height.into(),
        usage: 0.into(),
        modifier: layout.modifier.value().into(),
    };
    let mut bytes = set.as_bytes().to_vec();
    for plane in layout.planes.iter() {
        let (stride, offset) = (plane.stride_bytes.into(), (plane.offset_bytes as u32).into());
        bytes.extend_from_slice(PlaneLayout { stride, offset }.as_bytes());
    }
    let body: Vec<u32> = bytes.chunks_exact(4).map(|dword| u32::from_le_bytes(dword.try_into().unwrap())).collect();
    command(PIPE_RESOURCE_SET_TYPE, 0, &body)
}

/// Opens a context of virgl with one ring.
pub fn open_context(node: &Loopback) {
    node.context_init(&ContextInit { capset_id: CAPSET_ID_VIRGL2, num_rings: 1, debug_name: "drawing" }).unwrap();
}

/// A texture of four bytes a pixel.
pub fn texture(node: &Loopback, format: u32, width: u32, height: u32) -> Handles {
    let (target, size) = (TARGET_TEXTURE_2D, width * height * 4);
    node.resource_create(&ResourceCreate { target, format, bind: BIND_TARGET_AND_SAMPLED, width, height, size }).unwrap()
}

/// The same as a blob of so many bytes: PIPE_RESOURCE_CREATE, which the blob claims.
pub fn texture_blob(node: &Loopback, format: u32, width: u32, height: u32, size: u64) -> Handles {
    blob(node, [TARGET_TEXTURE_2D, BIND_TARGET_AND_SAMPLED], format, width, height, size)
}

/// A blob of whatever target and bind.
pub fn blob(node: &Loopback, [target, bind]: [u32; 2], format: u32, width: u32, height: u32, size: u64) -> Handles {
    let body = [target, format, bind, width, height, 1, 1, 0, 0, 0, TEXTURE_BLOB_ID];
    let command = command(PIPE_RESOURCE_CREATE, 0, &body);
    let (mem, flags) = (BlobMem::Host3d, BlobFlags::SHAREABLE);
    let blob = BlobCreate { mem, flags, size, blob_id: TEXTURE_BLOB_ID.into(), command: command.as_bytes() };
    node.resource_create_blob(&blob).unwrap()
}

/// TRANSFER_FROM_HOST of all of a texture of four bytes a pixel, WAIT, and the guest's pages.
pub fn read_back(node: &Loopback, bo_handle: u32, width: u32, height: u32) -> Vec<u8> {
    node.transfer_from_host(&Transfer { bo_handle, x: 0, y: 0, width, height, offset: 0, stride: 0, level: 0 }).unwrap();
    node.wait(bo_handle).unwrap();
    let mut bytes = vec![0; (width * height * 4) as usize];
    let map = node.mmap(node.map(bo_handle).unwrap(), bytes.len().next_multiple_of(4096) as u64).unwrap();
    map.read(0, &mut bytes).unwrap();
    bytes
}

/// virgl's number of a format.
pub fn number(format: Format) -> u32 {
    format.info().unwrap().virgl.unwrap()
}

/// A context that draws.
pub struct Virgl {
    pub node: Loopback,
    surfaces: u32,
}

impl Virgl {
    pub fn open(device: &Loopback) -> Self {
        let node = device.open_again();
        open_context(&node);
        let virgl = Self { node, surfaces: 0 };
        virgl.run(&[], &[command(CREATE_SUB_CTX, 0, &[1]), command(SET_SUB_CTX, 0, &[1])]);
        virgl
    }

    fn run(&self, handles: &[u32], commands: &[Vec<u32>]) {
        submit(&self.node, commands.concat().as_bytes(), handles, None);
        for handle in handles {
            self.node.wait(*handle).unwrap();
        }
    }

    /// Takes a buffer of another file, and tells the host what is in it: the handle, and the resource.
    pub fn import(&self, buffer: &BufferObject) -> (u32, u32) {
        self.import_as(buffer, buffer.layout())
    }

    /// The same, with another word about what is in it.
    pub fn import_as(&self, buffer: &BufferObject, layout: &Layout) -> (u32, u32) {
        let (handle, resource_id) = import(&self.node, buffer);
        self.run(&[handle], &[set_type(resource_id, layout)]);
        (handle, resource_id)
    }

    /// Fills a texture with a colour.
    pub fn clear(&mut self, (handle, resource_id): (u32, u32), format: Format, colour: [f32; 4]) {
        self.surfaces += 1;
        let commands = [
            clear(self.surfaces, resource_id, number(format), colour),
            command(SET_FRAMEBUFFER_STATE, 0, &[0, 0]),
            command(DESTROY_OBJECT, SURFACE, &[self.surfaces]),
        ];
        self.run(&[handle], &commands);
    }

    /// What the first rows of a texture have when it is sampled: blue, green, red and a byte of nothing for each pixel.
    pub fn sample(&self, (handle, resource_id): (u32, u32), format: Format, width: u32, height: u32) -> Vec<u8> {
        let xrgb = number(Format::XRGB8888);
        let to = texture(&self.node, xrgb, width, height);
        let area = [0, 0, 0, width, height, 1];
        let (drawn, sampled) = ([&[to.resource_id, 0, xrgb], &area[..]], [&[resource_id, 0, number(format)], &area[..]]);
        let blit = command(BLIT, 0, &[&[0xf, 0, 0], &drawn.concat()[..], &sampled.concat()].concat());
        self.run(&[handle, to.bo_handle], &[blit]);
        let bytes = read_back(&self.node, to.bo_handle, width, height);
        self.node.gem_close(to.bo_handle).unwrap();
        bytes
    }

    pub fn samples(&self, format: Format) -> bool {
        let mut caps = CapsV2::new_zeroed();
        self.node.get_caps(CAPSET_ID_VIRGL2, VERSION_VIRGL2, caps.as_mut_bytes()).unwrap();
        caps.v1.sampler.contains(number(format))
    }
}
