//! The same buffers from rutabaga_gfx 0.1.85 and from this project's host module, both in this process and side by side.
//!
//! A step makes one buffer of 1920x1080, takes a descriptor for it, gives the descriptor back and destroys the buffer. Rutabaga
//! is called through its interface, ours gets the bytes of virtio-gpu commands and takes them apart itself. Both make memfds.
//! What a VM adds is left out on both sides: the queue, the exits, attaching the buffer to its context, the mapping into the
//! guest, and the pages, which nobody touches but in the case that says so.
//!
//! Criterion times each case by itself. The table at the end, with the ratios, is of a loop of its own that changes sides.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use criterion::Criterion;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};
use support::ours::{Ours, Vmm};
use support::rutabaga::{self, Rutabaga};
use support::{Picture, length_of};
use virgbm::sys::memfd;

/// Steps before those that are timed.
const WARM_UP: u64 = 100;

/// How many steps are timed at once, and how often, each time on a new host: rutabaga keeps a note of every query for ever.
const STEPS: u64 = 2000;
const ROUNDS: usize = 51;

/// Steps that write every page take milliseconds.
const SLOW_STEPS: u64 = 10;

/// More heights than there are memfds that our host keeps for another blob.
const HEIGHTS: u32 = 512;

/// One step on a host that it owns.
type Step = Box<dyn FnMut()>;

/// One way to use a buffer, on both hosts.
struct Case {
    name: &'static str,
    explanation: &'static str,
    steps: u64,
    rutabaga: fn(Picture) -> Step,
    ours: fn(Picture) -> Step,
}

const CASES: [Case; 6] = [
    Case {
        name: "window",
        explanation: "query, blob, descriptor for the VMM to map: ours lends it, and uses its memfds again",
        steps: STEPS,
        rutabaga: rutabaga_whole,
        ours: ours_lent,
    },
    Case {
        name: "window, kept",
        explanation: "the same, but the VMM takes a descriptor of its own from ours too",
        steps: STEPS,
        rutabaga: rutabaga_whole,
        ours: ours_window,
    },
    Case {
        name: "window, layout known",
        explanation: "the one before, but a guest with minigbm asks rutabaga only for the first of its size",
        steps: STEPS,
        rutabaga: rutabaga_known,
        ours: ours_window,
    },
    Case {
        name: "window, new size",
        explanation: "kept, and a new size each time: ours makes a memfd each time",
        steps: STEPS,
        rutabaga: rutabaga_sizes,
        ours: ours_sizes,
    },
    Case {
        name: "export",
        explanation: "query, blob, descriptor that may leave the process: ours makes a memfd each time",
        steps: STEPS,
        rutabaga: rutabaga_whole,
        ours: ours_export,
    },
    Case {
        name: "window, written",
        explanation: "kept, and every page written through the descriptor",
        steps: SLOW_STEPS,
        rutabaga: rutabaga_written,
        ours: ours_written,
    },
];

fn main() {
    let pictures = [Picture::AR24, Picture::NV12];
    pictures.into_iter().for_each(check);
    let criterion = Criterion::default().warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_millis(600));
    let mut criterion = criterion.sample_size(50).configure_from_args();
    for picture in pictures {
        let mut group = criterion.benchmark_group(picture.name);
        // Criterion would take long over the slow one, and the table has it.
        for case in CASES.iter().filter(|case| case.steps == STEPS) {
            for (side, start) in [("rutabaga", case.rutabaga), ("ours", case.ours)] {
                let timed = |steps| time(&mut start(picture), steps);
                group.bench_function(format!("{}/{side}", case.name), |bencher| bencher.iter_custom(timed));
            }
        }
    }
    criterion.final_summary();
    print_table(&pictures);
}

/// What both hosts give is what was asked for, so that no number is one of a path that fails.
fn check(picture: Picture) {
    let size_bytes = picture.size_bytes(Picture::HEIGHT);
    let mut rutabaga = Rutabaga::new(picture);
    let requirements = rutabaga.query(Picture::HEIGHT);
    rutabaga.create(&requirements);
    assert_eq!((requirements.size, &requirements.strides[..2]), (size_bytes, &picture.strides[..]));
    assert_eq!(length_of(rutabaga::descriptor(&rutabaga.export())), size_bytes);
    rutabaga.destroy();

    let mut ours = Ours::new(picture, Vmm::Keeps);
    let layout = ours.create(Picture::HEIGHT);
    let planes = picture.strides.iter().filter(|stride| **stride > 0).count();
    let strides: Vec<_> = layout.planes.iter().map(|plane| plane.stride_bytes).collect();
    assert_eq!((layout.size_bytes, &strides[..]), (size_bytes, &picture.strides[..planes]));
    ours.map();
    ours.with_mapped(|fd| assert_eq!(length_of(fd), size_bytes));
    ours.unmap();
    assert_eq!(length_of(ours.export().as_fd()), size_bytes);
    ours.destroy();
}

fn rutabaga_whole(picture: Picture) -> Step {
    let mut host = Rutabaga::new(picture);
    Box::new(move || {
        let requirements = host.query(Picture::HEIGHT);
        host.create(&requirements);
        drop(host.export());
        host.destroy();
    })
}

fn rutabaga_known(picture: Picture) -> Step {
    let mut host = Rutabaga::new(picture);
    let requirements = host.query(Picture::HEIGHT);
    Box::new(move || {
        host.create(&requirements);
        drop(host.export());
        host.destroy();
    })
}

fn rutabaga_sizes(picture: Picture) -> Step {
    let mut host = Rutabaga::new(picture);
    let mut heights = heights();
    Box::new(move || {
        let requirements = host.query(heights.next().unwrap());
        host.create(&requirements);
        drop(host.export());
        host.destroy();
    })
}

fn rutabaga_written(picture: Picture) -> Step {
    let mut host = Rutabaga::new(picture);
    let pixels = vec![0xff; picture.size_bytes(Picture::HEIGHT) as usize];
    Box::new(move || {
        let requirements = host.query(Picture::HEIGHT);
        host.create(&requirements);
        memfd::write_all(rutabaga::descriptor(&host.export()), &pixels, 0).unwrap();
        host.destroy();
    })
}

fn ours_lent(picture: Picture) -> Step {
    mapped(Ours::new(picture, Vmm::MapsAtOnce))
}

fn ours_window(picture: Picture) -> Step {
    mapped(Ours::new(picture, Vmm::Keeps))
}

fn mapped(mut host: Ours) -> Step {
    Box::new(move || {
        host.create(Picture::HEIGHT);
        host.map();
        host.unmap();
        host.destroy();
    })
}

fn ours_sizes(picture: Picture) -> Step {
    let mut host = Ours::new(picture, Vmm::Keeps);
    let mut heights = heights();
    Box::new(move || {
        host.create(heights.next().unwrap());
        host.map();
        host.unmap();
        host.destroy();
    })
}

fn ours_export(picture: Picture) -> Step {
    let mut host = Ours::new(picture, Vmm::Keeps);
    Box::new(move || {
        host.create(Picture::HEIGHT);
        drop(host.export());
        host.destroy();
    })
}

fn ours_written(picture: Picture) -> Step {
    let mut host = Ours::new(picture, Vmm::Keeps);
    let pixels = vec![0xff; picture.size_bytes(Picture::HEIGHT) as usize];
    Box::new(move || {
        host.create(Picture::HEIGHT);
        host.map();
        host.with_mapped(|fd| memfd::write_all(fd, &pixels, 0).unwrap());
        host.unmap();
        host.destroy();
    })
}

/// Heights that differ by more than a page from one to the next.
fn heights() -> impl Iterator<Item = u32> {
    (0..HEIGHTS).map(|index| Picture::HEIGHT + 2 * index).cycle()
}

fn time(step: &mut Step, steps: u64) -> Duration {
    (0..WARM_UP.min(steps)).for_each(|_| step());
    let start = Instant::now();
    (0..steps).for_each(|_| step());
    start.elapsed()
}

/// Microseconds of a step, one number a round, in rising order.
struct Rounds(Vec<f64>);

impl Rounds {
    fn new(mut microseconds: Vec<f64>) -> Self {
        microseconds.sort_by(f64::total_cmp);
        Self(microseconds)
    }

    fn quarter(&self, quarters: usize) -> f64 {
        self.0[(self.0.len() - 1) * quarters / 4]
    }

    fn median(&self) -> f64 {
        self.quarter(2)
    }

    /// Where the middle half lies.
    fn middle(&self) -> String {
        format!("{:.2}-{:.2}", self.quarter(1), self.quarter(3))
    }
}

/// Times a case on both hosts by turns, so that what changes on the machine meanwhile meets both.
fn compare(case: &Case, picture: Picture, steps: u64, rounds: usize) -> [Rounds; 2] {
    let (mut rutabaga, mut ours) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        let mut sides = [(case.rutabaga, &mut rutabaga), (case.ours, &mut ours)];
        if round % 2 == 1 {
            sides.reverse();
        }
        for (start, times) in sides {
            times.push(time(&mut start(picture), steps).as_secs_f64() * 1e6 / steps as f64);
        }
    }
    [rutabaga, ours].map(Rounds::new)
}

fn print_table(pictures: &[Picture]) {
    // `cargo bench` says so; a test run only shows that it works.
    let measured =
        std::env::args().any(|argument| argument == "--bench") && !std::env::args().any(|argument| argument == "--test");
    let rounds = if measured { ROUNDS } else { 1 };
    println!(
        "\nOne buffer of 1920x1080 made, handed over and destroyed, in microseconds: median and middle half of {rounds} rounds."
    );
    for case in &CASES {
        println!("  {}: {}", case.name, case.explanation);
    }
    println!("\n{:<26} {:>9} {:>18} {:>9} {:>18} {:>13}", "operation", "rutabaga", "", "ours", "", "ours/rutabaga");
    for picture in pictures {
        for case in &CASES {
            let steps = if measured { case.steps } else { 10 };
            let [rutabaga, ours] = compare(case, *picture, steps, rounds);
            let name = format!("{} {}", picture.name, case.name);
            let ratio = ours.median() / rutabaga.median();
            let (rutabaga_middle, ours_middle) = (rutabaga.middle(), ours.middle());
            let (rutabaga, ours) = (rutabaga.median(), ours.median());
            println!("{name:<26} {rutabaga:>9.2} {rutabaga_middle:>18} {ours:>9.2} {ours_middle:>18} {ratio:>13.2}");
        }
    }
}
