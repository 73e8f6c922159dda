//! A guest's Vulkan driver, as far as it fills images and buffers: the stream that Mesa's venus sends, written by hand. Objects have
//! numbers that the guest chooses, so only one answer is read: whether there is a device.

use crate::images::import;
use crate::submit;
use virgbm::guest::BufferObject;
use virgbm::guest::node::loopback::Loopback;
use virgbm::guest::node::{BlobCreate, BlobFlags, BlobMem, ContextInit, Node};
use virgbm::{Layout, Plane};
use zerocopy::IntoBytes;

/// `VIRTIO_GPU_CAPSET_VENUS`.
pub const CAPSET_ID_VENUS: u32 = 4;

/// The ring whose fences are reached when the host has executed what came before, and the one for those of the queue.
pub const CPU_RING: u32 = 0;
pub const QUEUE_RING: u32 = 1;

/// `VkCommandTypeEXT` of venus, by the function's name.
mod function {
    pub const CREATE_INSTANCE: u32 = 0;
    pub const ENUMERATE_PHYSICAL_DEVICES: u32 = 2;
    pub const CREATE_DEVICE: u32 = 11;
    pub const QUEUE_SUBMIT: u32 = 18;
    pub const ALLOCATE_MEMORY: u32 = 21;
    pub const FREE_MEMORY: u32 = 22;
    pub const BIND_BUFFER_MEMORY: u32 = 28;
    pub const BIND_IMAGE_MEMORY: u32 = 29;
    pub const CREATE_BUFFER: u32 = 50;
    pub const CREATE_IMAGE: u32 = 54;
    pub const DESTROY_IMAGE: u32 = 55;
    pub const CREATE_COMMAND_POOL: u32 = 85;
    pub const ALLOCATE_COMMAND_BUFFERS: u32 = 88;
    pub const BEGIN_COMMAND_BUFFER: u32 = 90;
    pub const END_COMMAND_BUFFER: u32 = 91;
    pub const CMD_FILL_BUFFER: u32 = 118;
    pub const CMD_CLEAR_COLOR_IMAGE: u32 = 119;
    pub const CMD_PIPELINE_BARRIER: u32 = 126;
    pub const GET_DEVICE_QUEUE_2: u32 = 155;
    pub const SET_REPLY_COMMAND_STREAM: u32 = 178;
}

/// `VkStructureType`.
mod structure_type {
    pub const APPLICATION_INFO: u32 = 0;
    pub const INSTANCE_CREATE_INFO: u32 = 1;
    pub const DEVICE_QUEUE_CREATE_INFO: u32 = 2;
    pub const DEVICE_CREATE_INFO: u32 = 3;
    pub const SUBMIT_INFO: u32 = 4;
    pub const MEMORY_ALLOCATE_INFO: u32 = 5;
    pub const BUFFER_CREATE_INFO: u32 = 12;
    pub const IMAGE_CREATE_INFO: u32 = 14;
    pub const COMMAND_POOL_CREATE_INFO: u32 = 39;
    pub const COMMAND_BUFFER_ALLOCATE_INFO: u32 = 40;
    pub const COMMAND_BUFFER_BEGIN_INFO: u32 = 42;
    pub const IMAGE_MEMORY_BARRIER: u32 = 45;
    pub const EXTERNAL_MEMORY_IMAGE_CREATE_INFO: u32 = 1_000_072_001;
    pub const MEMORY_DEDICATED_ALLOCATE_INFO: u32 = 1_000_127_001;
    pub const DEVICE_QUEUE_INFO_2: u32 = 1_000_145_003;
    pub const IMAGE_DRM_FORMAT_MODIFIER_EXPLICIT_CREATE_INFO: u32 = 1_000_158_004;
    pub const IMPORT_MEMORY_RESOURCE_INFO: u32 = 1_000_384_002;
    pub const DEVICE_QUEUE_TIMELINE_INFO: u32 = 1_000_384_005;
}

/// Vulkan's other numbers, as `vulkan_core.h` has them.
mod vk {
    pub const API_VERSION_1_2: u32 = 1 << 22 | 2 << 12;
    pub const IMAGE_TYPE_2D: u32 = 1;
    pub const FORMAT_B8G8R8A8_UNORM: u32 = 44;
    pub const IMAGE_TILING_DRM_FORMAT_MODIFIER: u32 = 1_000_158_000;
    pub const SAMPLE_COUNT_1: u32 = 1;
    pub const USAGE_TRANSFER_DST: u32 = 2;
    pub const IMAGE_LAYOUT_UNDEFINED: u32 = 0;
    pub const IMAGE_LAYOUT_GENERAL: u32 = 1;
    pub const HANDLE_TYPE_DMA_BUF: u32 = 0x200;
    pub const COMMAND_POOL_RESETS_BUFFERS: u32 = 2;
    pub const STAGE_TOP_OF_PIPE: u32 = 1;
    pub const STAGE_TRANSFER: u32 = 0x1000;
    pub const ACCESS_TRANSFER_WRITE: u32 = 0x1000;
    pub const QUEUE_FAMILY_IGNORED: u32 = u32::MAX;
    pub const ASPECT_COLOR: u32 = 1;
    pub const SUCCESS: i32 = 0;
    pub const ERROR_EXTENSION_NOT_PRESENT: i32 = -7;
}

/// Objects that each context has once. Others count from [`FIRST_OTHER`].
mod id {
    pub const NONE: u64 = 0;
    pub const INSTANCE: u64 = 1;
    pub const PHYSICAL_DEVICE: u64 = 2;
    pub const DEVICE: u64 = 3;
    pub const QUEUE: u64 = 4;
    pub const COMMAND_POOL: u64 = 5;
    pub const COMMAND_BUFFER: u64 = 6;
    pub const FIRST_OTHER: u64 = 7;
}

/// What an image with a modifier, in memory that is a dma-buf, needs of the device.
const EXTENSIONS: [&str; 3] = ["VK_KHR_external_memory_fd", "VK_EXT_external_memory_dma_buf", "VK_EXT_image_drm_format_modifier"];

/// Numbers, and what is encoded already, one behind the other.
macro_rules! bytes {
    ($($part:expr),* $(,)?) => {{
        let mut bytes = Vec::<u8>::new();
        $(bytes.extend_from_slice($part.as_bytes());)*
        bytes
    }};
}

/// A null pointer, or an array that is left out.
const NULL: u64 = 0;

fn pointer(to: &[u8]) -> Vec<u8> {
    bytes![1_u64, to]
}

fn array(members: &[Vec<u8>]) -> Vec<u8> {
    bytes![members.len() as u64, members.concat()]
}

/// An array behind its count, as structures have it.
fn counted(members: &[Vec<u8>]) -> Vec<u8> {
    bytes![members.len() as u32, array(members)]
}

/// A string with its end, filled up to whole dwords.
fn string(text: &str) -> Vec<u8> {
    let length = text.len() + 1;
    let filled = vec![0_u8; length.next_multiple_of(4) - text.len()];
    bytes![length as u64, text, filled]
}

fn structure(structure_type: u32, members: &[u8]) -> Vec<u8> {
    bytes![structure_type, NULL, members]
}

/// One that another one extends.
fn extended(structure_type: u32, next: &[u8], members: &[u8]) -> Vec<u8> {
    bytes![structure_type, pointer(next), members]
}

/// A call without an answer.
fn call(function: u32, arguments: &[u8]) -> Vec<u8> {
    bytes![function, 0_u32, arguments]
}

/// One that is answered: `VK_COMMAND_GENERATE_REPLY_BIT_EXT`.
fn question(function: u32, arguments: &[u8]) -> Vec<u8> {
    bytes![function, 1_u32, arguments]
}

/// Where answers go, from the start of a blob on.
fn answers_to(resource_id: u32, size_bytes: u64) -> Vec<u8> {
    call(function::SET_REPLY_COMMAND_STREAM, &pointer(&bytes![resource_id, 0_u64, size_bytes]))
}

/// `vkCreate*` of one object of the device.
fn create(function: u32, info: &[u8], object: u64) -> Vec<u8> {
    call(function, &bytes![id::DEVICE, pointer(info), NULL, pointer(object.as_bytes())])
}

/// `vkDestroy*` and `vkFreeMemory`.
fn destroy(function: u32, object: u64) -> Vec<u8> {
    call(function, &bytes![id::DEVICE, object, NULL])
}

/// The first level and layer of an image's colour.
fn colours() -> Vec<u8> {
    bytes![vk::ASPECT_COLOR, 0_u32, 1_u32, 0_u32, 1_u32]
}

fn create_instance() -> Vec<u8> {
    let application = structure(structure_type::APPLICATION_INFO, &bytes![NULL, 0_u32, NULL, 0_u32, vk::API_VERSION_1_2]);
    let members = bytes![0_u32, pointer(&application), counted(&[]), counted(&[])];
    let info = structure(structure_type::INSTANCE_CREATE_INFO, &members);
    call(function::CREATE_INSTANCE, &bytes![pointer(&info), NULL, pointer(id::INSTANCE.as_bytes())])
}

fn enumerate_physical_devices() -> Vec<u8> {
    let devices = array(&[bytes![id::PHYSICAL_DEVICE]]);
    call(function::ENUMERATE_PHYSICAL_DEVICES, &bytes![id::INSTANCE, pointer(1_u32.as_bytes()), devices])
}

/// With one queue of the first family.
fn create_device() -> Vec<u8> {
    let queue = structure(structure_type::DEVICE_QUEUE_CREATE_INFO, &bytes![0_u32, 0_u32, counted(&[bytes![1_f32]])]);
    let members = bytes![0_u32, counted(&[queue]), counted(&[]), counted(&EXTENSIONS.map(string)), NULL];
    let info = structure(structure_type::DEVICE_CREATE_INFO, &members);
    question(function::CREATE_DEVICE, &bytes![id::PHYSICAL_DEVICE, pointer(&info), NULL, pointer(id::DEVICE.as_bytes())])
}

fn get_queue() -> Vec<u8> {
    let timeline = structure(structure_type::DEVICE_QUEUE_TIMELINE_INFO, &bytes![QUEUE_RING]);
    let info = extended(structure_type::DEVICE_QUEUE_INFO_2, &timeline, &bytes![0_u32, 0_u32, 0_u32]);
    call(function::GET_DEVICE_QUEUE_2, &bytes![id::DEVICE, pointer(&info), pointer(id::QUEUE.as_bytes())])
}

fn create_command_buffer() -> Vec<u8> {
    let pool = structure(structure_type::COMMAND_POOL_CREATE_INFO, &bytes![vk::COMMAND_POOL_RESETS_BUFFERS, 0_u32]);
    let pool = create(function::CREATE_COMMAND_POOL, &pool, id::COMMAND_POOL);
    let info = structure(structure_type::COMMAND_BUFFER_ALLOCATE_INFO, &bytes![id::COMMAND_POOL, 0_u32, 1_u32]);
    let buffers = array(&[bytes![id::COMMAND_BUFFER]]);
    bytes![pool, call(function::ALLOCATE_COMMAND_BUFFERS, &bytes![id::DEVICE, pointer(&info), buffers])]
}

/// An image as its maker has laid it out.
fn create_image(layout: &Layout, image: u64) -> Vec<u8> {
    let plane = |plane: &Plane| bytes![plane.offset_bytes, 0_u64, u64::from(plane.stride_bytes), 0_u64, 0_u64];
    let planes: Vec<_> = layout.planes.iter().map(plane).collect();
    let explicit = structure(
        structure_type::IMAGE_DRM_FORMAT_MODIFIER_EXPLICIT_CREATE_INFO,
        &bytes![layout.modifier.value(), counted(&planes)],
    );
    let external = extended(structure_type::EXTERNAL_MEMORY_IMAGE_CREATE_INFO, &explicit, &bytes![vk::HANDLE_TYPE_DMA_BUF]);
    let what = bytes![0_u32, vk::IMAGE_TYPE_2D, vk::FORMAT_B8G8R8A8_UNORM, layout.width, layout.height, 1_u32];
    let how = bytes![1_u32, 1_u32, vk::SAMPLE_COUNT_1, vk::IMAGE_TILING_DRM_FORMAT_MODIFIER, vk::USAGE_TRANSFER_DST];
    let members = bytes![what, how, 0_u32, counted(&[]), vk::IMAGE_LAYOUT_UNDEFINED];
    create(function::CREATE_IMAGE, &extended(structure_type::IMAGE_CREATE_INFO, &external, &members), image)
}

/// Memory of the first type, which software has for everything.
fn memory_members(size_bytes: u64) -> Vec<u8> {
    bytes![size_bytes, 0_u32]
}

/// The memory of a resource, for one image.
pub fn import_memory(resource_id: u32, size_bytes: u64, image: u64, memory: u64) -> Vec<u8> {
    let dedicated = structure(structure_type::MEMORY_DEDICATED_ALLOCATE_INFO, &bytes![image, id::NONE]);
    let resource = extended(structure_type::IMPORT_MEMORY_RESOURCE_INFO, &dedicated, &bytes![resource_id]);
    let info = extended(structure_type::MEMORY_ALLOCATE_INFO, &resource, &memory_members(size_bytes));
    create(function::ALLOCATE_MEMORY, &info, memory)
}

fn allocate_memory(size_bytes: u64, memory: u64) -> Vec<u8> {
    create(function::ALLOCATE_MEMORY, &structure(structure_type::MEMORY_ALLOCATE_INFO, &memory_members(size_bytes)), memory)
}

/// A buffer that is all of a memory.
fn create_buffer(size_bytes: u64, memory: u64, buffer: u64) -> Vec<u8> {
    let members = bytes![0_u32, size_bytes, vk::USAGE_TRANSFER_DST, 0_u32, counted(&[])];
    let made = create(function::CREATE_BUFFER, &structure(structure_type::BUFFER_CREATE_INFO, &members), buffer);
    bytes![made, call(function::BIND_BUFFER_MEMORY, &bytes![id::DEVICE, buffer, memory, 0_u64])]
}

/// Fills an image with a colour, whatever was in it: red, green, blue, alpha.
fn clear_image(image: u64, colour: [f32; 4]) -> Vec<u8> {
    let access = bytes![0_u32, vk::ACCESS_TRANSFER_WRITE];
    let layouts = bytes![vk::IMAGE_LAYOUT_UNDEFINED, vk::IMAGE_LAYOUT_GENERAL];
    let families = [vk::QUEUE_FAMILY_IGNORED; 2];
    let barrier = structure(structure_type::IMAGE_MEMORY_BARRIER, &bytes![access, layouts, families, image, colours()]);
    let stages = bytes![vk::STAGE_TOP_OF_PIPE, vk::STAGE_TRANSFER, 0_u32];
    let barriers = bytes![id::COMMAND_BUFFER, stages, counted(&[]), counted(&[]), counted(&[barrier])];
    // A union has a tag: 0 for numbers with a point.
    let colour = bytes![0_u32, array(&colour.map(|part| bytes![part]))];
    let clear = bytes![id::COMMAND_BUFFER, image, vk::IMAGE_LAYOUT_GENERAL, pointer(&colour), counted(&[colours()])];
    bytes![call(function::CMD_PIPELINE_BARRIER, &barriers), call(function::CMD_CLEAR_COLOR_IMAGE, &clear)]
}

fn fill_buffer(buffer: u64, size_bytes: u64, dword: u32) -> Vec<u8> {
    call(function::CMD_FILL_BUFFER, &bytes![id::COMMAND_BUFFER, buffer, 0_u64, size_bytes, dword])
}

/// Records commands into the command buffer, and gives that to the queue.
fn submit_to_queue(commands: &[u8]) -> Vec<u8> {
    let begin = structure(structure_type::COMMAND_BUFFER_BEGIN_INFO, &bytes![0_u32, NULL]);
    // Semaphores to wait for with the stages that wait, command buffers, and semaphores to signal.
    let members = bytes![counted(&[]), array(&[]), counted(&[bytes![id::COMMAND_BUFFER]]), counted(&[])];
    let submission = structure(structure_type::SUBMIT_INFO, &members);
    bytes![
        call(function::BEGIN_COMMAND_BUFFER, &bytes![id::COMMAND_BUFFER, pointer(&begin)]),
        commands,
        call(function::END_COMMAND_BUFFER, &bytes![id::COMMAND_BUFFER]),
        call(function::QUEUE_SUBMIT, &bytes![id::QUEUE, counted(&[submission]), id::NONE]),
    ]
}

/// An image of ours as the context has it.
#[derive(Clone, Copy)]
pub struct Imported {
    handle: u32,
    image: u64,
    memory: u64,
}

/// A context that draws.
pub struct Venus {
    pub node: Loopback,
    next_id: u64,
}

impl Venus {
    /// A context with a Vulkan device and a queue; `None`, with a word about it, where the host has none.
    pub fn open(device: &Loopback) -> Option<Self> {
        let node = device.open_again();
        let init = ContextInit { capset_id: CAPSET_ID_VENUS, num_rings: QUEUE_RING + 1, debug_name: "drawing" };
        if let Err(error) = node.context_init(&init) {
            eprintln!("skipped: virglrenderer has no venus here: {error}");
            return None;
        }
        let venus = Self { node, next_id: id::FIRST_OTHER };
        match venus.create_device() {
            vk::SUCCESS => {}
            vk::ERROR_EXTENSION_NOT_PRESENT => {
                eprintln!("skipped: the driver below venus has not all of {}", EXTENSIONS.join(", "));
                return None;
            }
            other => panic!("vkCreateDevice: {other}"),
        }
        venus.run(&[get_queue(), create_command_buffer()]);
        Some(venus)
    }

    /// What `vkCreateDevice` returns.
    fn create_device(&self) -> i32 {
        let (flags, size) = (BlobFlags::MAPPABLE, 4096);
        let blob = BlobCreate { mem: BlobMem::Host3d, flags, size, blob_id: 0, command: &[] };
        let answers = self.node.resource_create_blob(&blob).unwrap();
        let asked = [create_instance(), enumerate_physical_devices(), answers_to(answers.resource_id, size), create_device()];
        submit(&self.node, &asked.concat(), &[answers.bo_handle], Some(CPU_RING));
        self.node.wait(answers.bo_handle).unwrap();
        let (mut function, mut result) = ([0; 4], [0; 4]);
        let map = self.node.mmap(self.node.map(answers.bo_handle).unwrap(), size).unwrap();
        map.read(0, &mut function).unwrap();
        map.read(4, &mut result).unwrap();
        assert_eq!(u32::from_le_bytes(function), function::CREATE_DEVICE, "no answer");
        i32::from_le_bytes(result)
    }

    /// Sends a stream that nobody waits for.
    pub fn run(&self, calls: &[Vec<u8>]) {
        submit(&self.node, &calls.concat(), &[], None);
    }

    /// Sends commands that use a buffer to the queue, and waits until they are executed.
    fn draw(&self, handle: u32, commands: &[u8]) {
        submit(&self.node, &submit_to_queue(commands), &[handle], Some(QUEUE_RING));
        self.node.wait(handle).unwrap();
    }

    /// A number that no object has.
    pub fn new_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id - 1
    }

    /// Takes a buffer of another file as an image.
    pub fn import(&mut self, buffer: &BufferObject) -> Imported {
        let (handle, resource_id) = import(&self.node, buffer);
        let (image, memory) = (self.new_id(), self.new_id());
        self.run(&[
            create_image(buffer.layout(), image),
            import_memory(resource_id, buffer.size_bytes(), image, memory),
            call(function::BIND_IMAGE_MEMORY, &bytes![id::DEVICE, image, memory, 0_u64]),
        ]);
        Imported { handle, image, memory }
    }

    /// Fills an image with a colour: red, green, blue, alpha.
    pub fn clear(&self, imported: Imported, colour: [f32; 4]) {
        self.draw(imported.handle, &clear_image(imported.image, colour));
    }

    /// Gives a buffer back.
    pub fn forget(&self, Imported { handle, image, memory }: Imported) {
        self.run(&[destroy(function::DESTROY_IMAGE, image), destroy(function::FREE_MEMORY, memory)]);
        self.node.gem_close(handle).unwrap();
    }

    /// Memory that is a buffer: the number of the memory, which a blob is asked for by, and that of the buffer.
    pub fn allocate(&mut self, size_bytes: u64) -> (u64, u64) {
        let (memory, buffer) = (self.new_id(), self.new_id());
        self.run(&[allocate_memory(size_bytes, memory), create_buffer(size_bytes, memory, buffer)]);
        (memory, buffer)
    }

    /// Fills a buffer with a dword; the handle is that of its memory's blob.
    pub fn fill(&self, handle: u32, buffer: u64, size_bytes: u64, dword: u32) {
        self.draw(handle, &fill_buffer(buffer, size_bytes, dword));
    }
}
