//! `virgbm ctl`: looks into a running `virgbm host`.

use crate::control::{Answer, Buffer, Drawing, Request, Stats};
use crate::table::Table;
use crate::{Failure, capsets, sheet};
use clap::{Args, Subcommand};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

/// Whom to ask what.
#[derive(Args)]
pub struct Options {
    /// The control socket that `virgbm host --control` made
    #[arg(long)]
    control: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Every live buffer: owner, name, format, size, layout, what it is made of, age
    List,
    /// What the device holds and has done
    Stats,
    /// What the host's drivers make, and why they do not make the rest
    Resolvers,
    /// Write what the screen shows as a PNG, or as bytes of red, green, blue and alpha when the file is not called .png
    Screenshot {
        /// Draw the guest's cursor over it
        #[arg(long)]
        cursor: bool,
        /// Where to
        file: PathBuf,
    },
    /// Write a buffer as a PNG, or as its bytes when the file is not called .png
    Dump {
        /// The buffer's number in the list
        id: u32,
        /// Where to
        file: PathBuf,
    },
}

pub fn run(options: &Options) -> Result<String, Failure> {
    let request = match &options.command {
        Command::List => Request::List,
        Command::Stats => Request::Stats,
        Command::Resolvers => Request::Drivers,
        Command::Screenshot { cursor, .. } => Request::Screenshot { cursor: *cursor },
        Command::Dump { id, file } if is_png(file) => Request::Picture(*id),
        Command::Dump { id, .. } => Request::Bytes(*id),
    };
    let mut socket = UnixStream::connect(&options.control)?;
    socket.write_all((serde_json::to_string(&request)? + "\n").as_bytes())?;
    let mut reader = BufReader::new(socket);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let answer: Answer = serde_json::from_str(&line)?;
    match (&options.command, answer) {
        (_, Answer::Error(error)) => Err(error.into()),
        (_, Answer::List(buffers)) if options.json => Ok(serde_json::to_string_pretty(&buffers)? + "\n"),
        (_, Answer::Stats(stats)) if options.json => Ok(serde_json::to_string_pretty(&stats)? + "\n"),
        (_, Answer::Drivers(found)) if options.json => Ok(serde_json::to_string_pretty(&found)? + "\n"),
        (_, Answer::Drivers(found)) => Ok(found.describe()),
        (_, Answer::List(buffers)) => Ok(list(&buffers)),
        (_, Answer::Stats(stats)) => Ok(describe(&stats)),
        (Command::Dump { file, .. } | Command::Screenshot { file, .. }, Answer::Picture { width, height }) => {
            let mut rgba = vec![0; width as usize * height as usize * 4];
            reader.read_exact(&mut rgba)?;
            if is_png(file) {
                sheet::write_png(file, width, height, &rgba)?;
            } else {
                std::fs::write(file, &rgba)?;
            }
            Ok(format!("{}: {width}x{height}\n", file.display()))
        }
        (Command::Dump { file, .. }, Answer::Bytes(size)) => {
            let mut bytes = Vec::new();
            reader.take(size).read_to_end(&mut bytes)?;
            std::fs::write(file, &bytes)?;
            Ok(format!("{}: {} bytes\n", file.display(), bytes.len()))
        }
        _ => Err("the host answered something else".into()),
    }
}

fn is_png(file: &Path) -> bool {
    file.extension().is_some_and(|extension| extension == "png")
}

fn list(buffers: &[Buffer]) -> String {
    let mut table =
        Table::new(["id", "context", "name", "kind", "format", "size", "strides", "bytes", "backing", "mapped", "age"]);
    for buffer in buffers {
        let size = buffer.width.zip(buffer.height).map_or(String::new(), |(width, height)| format!("{width}x{height}"));
        let strides: Vec<_> = buffer.strides.iter().map(ToString::to_string).collect();
        table.row([
            buffer.id.to_string(),
            buffer.context.to_string(),
            buffer.name.clone(),
            buffer.kind.clone(),
            buffer.format.clone().unwrap_or_default(),
            size,
            strides.join(" "),
            buffer.size_bytes.to_string(),
            buffer.backing.clone(),
            if buffer.mapped { "yes" } else { "no" }.to_owned(),
            format!("{:.1} s", buffer.age_seconds),
        ]);
    }
    table.to_string()
}

fn describe(stats: &Stats) -> String {
    let Stats { contexts, objects, resources, mappings, bytes, commands, commands_per_second, errors, each, found, renderer } =
        stats;
    let mut table = Table::new(["context", "name", "capset", "buffers", "MiB", "unclaimed", "attached", "commands", "refused"]);
    for context in each {
        table.row([
            context.id.to_string(),
            context.name.clone(),
            capsets::name_or_number(context.capset_id),
            context.resources.to_string(),
            (context.bytes >> 20).to_string(),
            context.objects.to_string(),
            context.attached.to_string(),
            context.commands.to_string(),
            context.refused.to_string(),
        ]);
    }
    format!(
        "{contexts} contexts, {objects} objects, {resources} resources, {mappings} mappings, {} MiB\n\
         {commands} commands, {commands_per_second} in the last second, {errors} of them refused\n\n{table}\n{}{}",
        bytes >> 20,
        found.summary(),
        renderer.as_ref().map_or(String::new(), describe_renderer)
    )
}

fn describe_renderer(renderer: &Drawing) -> String {
    let Drawing { capsets, contexts, resources, refused } = renderer;
    let capsets: Vec<_> =
        capsets.iter().map(|(id, version)| format!("{} (version {version})", capsets::name_or_number(*id))).collect();
    let refused: String = refused.iter().map(|why| format!("Not taken: {why}\n")).collect();
    format!(
        "virglrenderer draws for {contexts} contexts with {resources} resources, of capsets {}\n{refused}",
        capsets.join(", ")
    )
}
