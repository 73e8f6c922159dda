//! The control socket of `virgbm host`: a line of request, a line of JSON as answer, and bytes behind it where they were asked for.

use crate::Failure;
use crate::drivers::Found;
use serde::{Deserialize, Serialize};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use virgbm::host::resolver::drivers::Drivers;
use virgbm::host::vhost_user::Watcher;
use virgbm::host::{ContextInfo, Device, DeviceError, Picture, RendererInfo, ResourceInfo};

/// How long a client may take for its line.
const PATIENCE: Duration = Duration::from_secs(5);

/// The longest request, in bytes.
const LONGEST_LINE: u64 = 256;

/// What can be asked.
#[derive(Serialize, Deserialize)]
pub enum Request {
    /// Every live buffer.
    List,
    /// Counts.
    Stats,
    /// What was found about the host's drivers; answered without a VMM too.
    Drivers,
    /// A buffer as eight bits each of red, green, blue and alpha.
    Picture(u32),
    /// A buffer as the guest laid it out.
    Bytes(u32),
    /// What the screen shows.
    Screenshot { cursor: bool },
}

/// What is answered.
#[derive(Serialize, Deserialize)]
pub enum Answer {
    List(Vec<Buffer>),
    Stats(Stats),
    Drivers(Found),
    /// `width * height * 4` bytes follow.
    Picture {
        width: u32,
        height: u32,
    },
    /// So many bytes follow.
    Bytes(u64),
    Error(String),
}

/// A buffer in the list.
#[derive(Serialize, Deserialize)]
pub struct Buffer {
    pub id: u32,
    pub context: u32,
    pub name: String,
    pub kind: String,
    pub format: Option<String>,
    pub width: Option<u32>,
    pub height: Option<u32>,
    pub modifier: Option<u64>,
    pub strides: Vec<u32>,
    pub size_bytes: u64,
    pub backing: String,
    pub mapped: bool,
    pub uuid: Option<String>,
    pub age_seconds: f64,
}

/// What the device holds and has done.
#[derive(Serialize, Deserialize)]
pub struct Stats {
    pub contexts: usize,
    pub objects: usize,
    pub resources: usize,
    pub mappings: usize,
    pub bytes: u64,
    pub commands: u64,
    pub commands_per_second: u64,
    pub errors: u64,
    pub each: Vec<Context>,
    /// What allocates.
    pub found: Found,
    /// What draws, where something does.
    pub renderer: Option<Drawing>,
}

/// What the renderer has on the device.
#[derive(Serialize, Deserialize)]
pub struct Drawing {
    /// Ids and versions.
    pub capsets: Vec<(u32, u32)>,
    pub contexts: usize,
    pub resources: usize,
    /// Resources of others that it could not take, streams that it refused, and why.
    pub refused: Vec<String>,
}

impl From<RendererInfo> for Drawing {
    fn from(renderer: RendererInfo) -> Self {
        let RendererInfo { capsets, contexts, resources, refused } = renderer;
        Self { capsets, contexts, resources, refused }
    }
}

/// A context, and what it has.
#[derive(Serialize, Deserialize)]
pub struct Context {
    pub id: u32,
    pub name: String,
    pub capset_id: u32,
    pub objects: usize,
    pub resources: usize,
    pub attached: usize,
    pub bytes: u64,
    pub commands: u64,
    pub refused: u64,
}

impl From<ContextInfo> for Context {
    fn from(context: ContextInfo) -> Self {
        let ContextInfo { id, name, capset_id, objects, resources, attached, held, commands, refused } = context;
        Self { id, name, capset_id, objects, resources, attached, bytes: held.bytes, commands, refused }
    }
}

impl From<ResourceInfo> for Buffer {
    fn from(resource: ResourceInfo) -> Self {
        let layout = resource.layout.as_ref();
        Self {
            id: resource.id,
            context: resource.owner,
            kind: resource.kind.to_owned(),
            format: layout.map(|layout| layout.format.to_string()),
            width: layout.map(|layout| layout.width),
            height: layout.map(|layout| layout.height),
            modifier: layout.map(|layout| layout.modifier.value()),
            strides: layout.into_iter().flat_map(|layout| layout.planes.iter().map(|plane| plane.stride_bytes)).collect(),
            size_bytes: resource.size_bytes,
            backing: resource.storage.to_owned(),
            mapped: resource.mapped,
            uuid: resource.uuid.map(|uuid| uuid.iter().map(|byte| format!("{byte:02x}")).collect()),
            age_seconds: resource.age.as_secs_f64(),
            name: resource.name,
        }
    }
}

/// Listens at a path, and answers on a thread of its own for as long as the process lives.
pub fn serve(path: &Path, watcher: Watcher, drivers: Drivers) -> Result<(), Failure> {
    // A socket of an earlier process is in the way of a new one.
    let _gone = std::fs::remove_file(path);
    let listener = UnixListener::bind(path)?;
    let rate = Arc::new(AtomicU64::new(0));
    std::thread::spawn({
        let (watcher, rate) = (watcher.clone(), rate.clone());
        move || measure(&watcher, &rate)
    });
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            if let Err(error) = answer(client, &watcher, &drivers, rate.load(Ordering::Relaxed)) {
                log::debug!("control socket: {error}");
            }
        }
    });
    Ok(())
}

/// Counts the commands of every second, for ever.
fn measure(watcher: &Watcher, rate: &AtomicU64) {
    let mut before = 0;
    loop {
        std::thread::sleep(Duration::from_secs(1));
        let commands = watcher.look(|device| device.stats().commands).unwrap_or(0);
        // Another VMM's device starts from 0.
        rate.store(commands.saturating_sub(before), Ordering::Relaxed);
        before = commands;
    }
}

fn answer(mut client: UnixStream, watcher: &Watcher, drivers: &Drivers, rate: u64) -> Result<(), Failure> {
    client.set_read_timeout(Some(PATIENCE))?;
    client.set_write_timeout(Some(PATIENCE))?;
    let mut line = String::new();
    BufReader::new((&client).take(LONGEST_LINE)).read_line(&mut line)?;
    let request = serde_json::from_str(&line)?;
    let nothing = |why: &str| (Answer::Error(why.to_owned()), Vec::new());
    let (answer, bytes) = match &request {
        Request::Drivers => (Answer::Drivers(drivers.into()), Vec::new()),
        _ => watcher.look(|device| execute(device, &request, drivers, rate)).unwrap_or_else(|| nothing("no VMM is connected")),
    };
    client.write_all((serde_json::to_string(&answer)? + "\n").as_bytes())?;
    Ok(client.write_all(&bytes)?)
}

fn execute(device: &Device, request: &Request, drivers: &Drivers, rate: u64) -> (Answer, Vec<u8>) {
    let result = match request {
        Request::List => Ok((Answer::List(device.resources().into_iter().map(Buffer::from).collect()), Vec::new())),
        Request::Stats => {
            let stats = device.stats();
            let stats = Stats {
                contexts: stats.contexts,
                objects: stats.objects,
                resources: stats.resources,
                mappings: stats.mappings,
                bytes: stats.held.bytes,
                commands: stats.commands,
                commands_per_second: rate,
                errors: stats.errors,
                each: device.contexts().into_iter().map(Context::from).collect(),
                found: drivers.into(),
                renderer: device.renderer().map(Drawing::from),
            };
            Ok((Answer::Stats(stats), Vec::new()))
        }
        Request::Drivers => Err("it is no business of the device".to_owned()),
        Request::Picture(id) => picture(device.picture(*id)),
        Request::Screenshot { cursor: false } => picture(device.screenshot(0)),
        Request::Screenshot { cursor: true } => picture(device.screenshot_with_cursor(0)),
        Request::Bytes(id) => bytes(device, *id),
    };
    result.unwrap_or_else(|error| (Answer::Error(error), Vec::new()))
}

fn picture(picture: Result<Picture, DeviceError>) -> Result<(Answer, Vec<u8>), String> {
    let Picture { width, height, rgba } = picture.map_err(|error| error.to_string())?;
    Ok((Answer::Picture { width, height }, rgba))
}

fn bytes(device: &Device, id: u32) -> Result<(Answer, Vec<u8>), String> {
    let resource = device.resources().into_iter().find(|resource| resource.id == id);
    let size = resource.ok_or_else(|| format!("resource {id} does not exist"))?.size_bytes;
    let mut bytes = vec![0; usize::try_from(size).map_err(|error| error.to_string())?];
    device.read_resource(id, 0, &mut bytes).map_err(|error| error.to_string())?;
    Ok((Answer::Bytes(size), bytes))
}
