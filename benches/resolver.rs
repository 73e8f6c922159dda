//! What images of the host's drivers cost: made, exported and freed, by each resolver that is here, and by Vulkan alone.
//!
//! Vulkan alone is a loop of the same calls without this project. Both are timed by turns, so that what changes on the machine
//! meanwhile meets both. Before that the driver's calls are counted: an image takes as many as the loop does, and a layout that is
//! known none.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod bare;

use bare::Bare;
use std::hint::black_box;
use std::time::Instant;
use virgbm::host::test_rig::gpu_demanded;
use virgbm::host::{GlOptions, GlResolver, MemoryResolver, Parameters, Resolver, VulkanOptions, VulkanResolver};
use virgbm::{BufferRequest, Format, Layout, SupportTable, Usage};

/// How often a pair is timed, and for how many images each time.
const ROUNDS: usize = 31;
const SIZES: [(u32, u32, u32); 3] = [(64, 64, 400), (640, 480, 100), (1920, 1080, 20)];

fn main() {
    // `cargo bench` says so; a test run only shows that it works.
    let measured =
        std::env::args().any(|argument| argument == "--bench") && !std::env::args().any(|argument| argument == "--test");
    let rounds = if measured { ROUNDS } else { 1 };
    let vulkan = VulkanResolver::new(&VulkanOptions { software: !gpu_demanded(), ..VulkanOptions::default() });
    let vulkan = vulkan.map_err(|error| println!("skipped: Vulkan: {error}")).ok();
    let memory = MemoryResolver::new();
    let gl = GlResolver::new(&GlOptions { software: !gpu_demanded(), ..GlOptions::default() });
    let gl = gl.map_err(|error| println!("skipped: GL: {error}")).ok();
    let drivers = vulkan.iter().map(|vulkan| vulkan as &dyn Resolver).chain(gl.iter().map(|gl| gl as &dyn Resolver));
    let resolvers: Vec<&dyn Resolver> = drivers.chain([&memory as _]).collect();
    println!("{:<10} {:>10} {:>12} {:>9}", "resolver", "size", "images/s", "us each");
    for resolver in resolvers {
        for (width, height, images) in SIZES {
            let asked = Asked::new(resolver, width, height);
            let mut times: Vec<f64> = (0..rounds).map(|_| time(images, || asked.round())).collect();
            let each = median(&mut times);
            println!("{:<10} {:>10} {:>12.0} {:>9.2}", resolver.name(), format!("{width}x{height}"), 1e6 / each, each);
        }
    }
    if let Some(vulkan) = vulkan {
        count(&vulkan);
        compare(&vulkan, rounds);
    }
}

/// A picture that a resolver is asked for.
struct Asked<'a> {
    resolver: &'a dyn Resolver,
    table: SupportTable,
    request: BufferRequest,
}

impl<'a> Asked<'a> {
    fn new(resolver: &'a dyn Resolver, width: u32, height: u32) -> Self {
        let usage = Usage::RENDER | Usage::TEXTURE | Usage::LINEAR;
        let table = SupportTable::new(resolver.support().to_vec(), resolver.largest());
        let asked = Self { resolver, table, request: BufferRequest::new(Format::ARGB8888, width, height, usage) };
        // What a resolver learns once is not what an image costs.
        asked.round();
        asked
    }

    fn layout(&self) -> Layout {
        self.resolver.layout(&self.request, self.table.choose(&self.request).unwrap()).unwrap()
    }

    fn round(&self) {
        let layout = self.layout();
        let parameters = Parameters::Image { request: &self.request, layout: &layout };
        let made = self.resolver.allocate(&parameters, layout.size_bytes).unwrap();
        // GL without dma-bufs gives no descriptor.
        drop(black_box(made.image.export().ok()));
    }
}

/// Microseconds of one of so many.
fn time(count: u32, mut step: impl FnMut()) -> f64 {
    let start = Instant::now();
    (0..count).for_each(|_| step());
    start.elapsed().as_secs_f64() * 1e6 / f64::from(count)
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn bare(vulkan: &VulkanResolver) -> Option<Bare> {
    let bare = Bare::open(vulkan.device_uuid(), vulkan.exports_dma_bufs());
    if bare.is_none() {
        println!("skipped: the device can't be opened by hand");
    }
    bare
}

fn count(vulkan: &VulkanResolver) {
    let Some(mut bare) = bare(vulkan) else { return };
    bare.round(64, 64);
    let asked = Asked::new(vulkan, 64, 64);
    let of = |step: &dyn Fn()| {
        let before = vulkan.driver_calls();
        step();
        vulkan.driver_calls() - before
    };
    let image = of(&|| asked.round());
    let known = of(&|| assert_eq!(asked.layout().format, Format::ARGB8888));
    println!(
        "\ncalls of the driver for an image: {image}, and {} by Vulkan alone; for a layout that is known: {known}",
        bare.calls
    );
    assert_eq!(known, 0);
    // The barrier that shows the CPU what a submission wrote.
    assert!(image <= bare.calls + 1, "{image} calls, {} alone", bare.calls);
}

fn compare(vulkan: &VulkanResolver, rounds: usize) {
    let Some(mut bare) = bare(vulkan) else { return };
    println!("\nan image on {}, made, exported and freed, in microseconds: medians of {rounds} pairs", vulkan.device_name());
    println!("{:>10} {:>12} {:>9} {:>9}", "size", "Vulkan alone", "ours", "overhead");
    for (width, height, images) in SIZES {
        let asked = Asked::new(vulkan, width, height);
        let (mut alone, mut ours) = (Vec::new(), Vec::new());
        for round in 0..rounds {
            if round % 2 == 0 {
                alone.push(time(images, || bare.round(width, height)));
            }
            ours.push(time(images, || asked.round()));
            if round % 2 == 1 {
                alone.push(time(images, || bare.round(width, height)));
            }
        }
        let mut ratios: Vec<f64> = ours.iter().zip(&alone).map(|(ours, alone)| ours / alone).collect();
        let (ratio, alone, ours) = (median(&mut ratios), median(&mut alone), median(&mut ours));
        let size = format!("{width}x{height}");
        println!("{size:>10} {alone:>12.2} {ours:>9.2} {:>8.1}%", (ratio - 1.0) * 100.0);
    }
}
