//! What the facts mean for whoever looks at the guest's screen, one function a question.

use super::facts::{Facts, Screen};
use crate::capsets;
use serde::Serialize;
use virgbm::guest::BackendKind;

/// How good something is, the worst last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Good,
    /// It works, and costs more than it must.
    Slow,
    /// Programs run, and nothing is seen.
    Black,
    /// Programs do not run.
    Broken,
}

impl Verdict {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Slow => "slow",
            Self::Black => "black",
            Self::Broken => "broken",
        }
    }
}

/// What was found about one thing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub what: &'static str,
    pub verdict: Verdict,
    pub because: String,
    /// What would help, where something would.
    pub advice: Option<&'static str>,
}

impl Finding {
    fn new(what: &'static str, verdict: Verdict, because: impl Into<String>, advice: &'static str) -> Self {
        Self { what, verdict, because: because.into(), advice: Some(advice) }
    }

    fn good(what: &'static str, because: impl Into<String>) -> Self {
        Self { what, verdict: Verdict::Good, because: because.into(), advice: None }
    }
}

/// virgbm's own capset.
const OUR_CAPSET: u64 = 1 << virgbm::wire::alloc::CAPSET_ID;

/// From this kernel on, buffers of other drivers can be imported and shown.
const IMPORTS_FOREIGN: (u32, u32) = (6, 14);

/// Judges a guest; one without a node is judged by that alone.
pub fn judge(facts: &Facts) -> Vec<Finding> {
    let node = node(facts);
    if node.verdict != Verdict::Good {
        return vec![node];
    }
    [Some(node), Some(backend(facts)), Some(cpu(facts)), Some(screen(facts)), window(facts), Some(drawing(facts)), foreign(facts)]
        .into_iter()
        .flatten()
        .collect()
}

fn node(facts: &Facts) -> Finding {
    match &facts.node {
        Ok(()) => Finding::good("node", "it opens"),
        Err(why) if why.contains("Permission denied") => Finding::new(
            "node",
            Verdict::Broken,
            why,
            "put the user into the groups `video` and `render`, or let the session manager do it",
        ),
        Err(why) => Finding::new(
            "node",
            Verdict::Broken,
            why,
            "give the VM a virtio-gpu device (`virgbm host`, or QEMU's virtio-gpu-pci), and the guest's kernel its driver virtio-gpu",
        ),
    }
}

fn backend(facts: &Facts) -> Finding {
    let advice = "`virgbm host` as the device shares its memory with the guest and tells every layout";
    match &facts.backend {
        Ok(BackendKind::Alloc) => Finding::good("allocation", "the host speaks virgbm's protocol"),
        Ok(BackendKind::CrossDomain) => Finding::new(
            "allocation",
            Verdict::Slow,
            "cross-domain: each new size is asked for, and no refusal tells why",
            advice,
        ),
        Ok(BackendKind::Virgl) if facts.capsets & OUR_CAPSET != 0 => Finding::new(
            "allocation",
            Verdict::Slow,
            "virgl: the host draws, and what virgbm would allocate there leaves as no dma-buf that GL could draw into",
            "on the host `modprobe udmabuf`, and let `virgbm host` open /dev/udmabuf",
        ),
        Ok(BackendKind::Virgl) => Finding::new(
            "allocation",
            Verdict::Slow,
            "virgl: what the CPU draws is copied to the host, and modifiers are not told",
            advice,
        ),
        Ok(BackendKind::Dumb) => {
            let because =
                "a 2D host: it has a copy of what is shown, XRGB8888 and a cursor; GPUs and other devices see none of it";
            Finding::new("allocation", Verdict::Slow, because, advice)
        }
        Err(why) => Finding::new("allocation", Verdict::Broken, why, "`virgbm info --node auto` says what each backend lacks"),
    }
}

fn cpu(facts: &Facts) -> Finding {
    match &facts.cpu {
        Ok(()) => Finding::good("CPU access", "what is written is read again"),
        Err(why) => Finding::new(
            "CPU access",
            Verdict::Broken,
            why,
            "give the device a window: `virgbm host --window-size 256`, or `hostmem=256M` on QEMU's devices; a VMM may also have run out of maps",
        ),
    }
}

fn screen(facts: &Facts) -> Finding {
    let advice =
        "give the device a screen: `virgbm host --scanout 1024x768`, `max_outputs=1` on QEMU's devices, and a display that is on";
    match &facts.screen {
        Screen::Connected { mode, takes_our_buffers: Ok(()) } => {
            Finding::good("screen", format!("{mode}, and it takes our buffers"))
        }
        Screen::Connected { mode, takes_our_buffers: Err(why) } => {
            let because = format!("{mode}, but the kernel does not show our buffers: {why}");
            Finding::new(
                "screen",
                Verdict::Black,
                because,
                "allocate with SCANOUT on the primary node: others are never shown on a 2D host",
            )
        }
        Screen::Disconnected => Finding::new("screen", Verdict::Black, "its connector is not connected", advice),
        Screen::None => Finding::new("screen", Verdict::Black, "the device has no connector: it only renders", advice),
        Screen::NoCard(why) => Finding::new("screen", Verdict::Black, why, advice),
    }
}

fn window(facts: &Facts) -> Option<Finding> {
    if !facts.blobs {
        return facts.contexts.then(|| {
            let advice = "let the host offer blobs: `blob=on` on QEMU's devices, `virgbm host` without `--without blob`";
            Finding::new("blobs", Verdict::Slow, "the device has none: every buffer is kept twice", advice)
        });
    }
    Some(if facts.window {
        Finding::good("window", "the CPU sees the host's memory in place")
    } else {
        let advice = "`virgbm host --window-size 256`, `hostmem=256M` on QEMU's devices";
        Finding::new("window", Verdict::Slow, "there is none: buffers for the CPU are pages of the guest", advice)
    })
}

fn drawing(facts: &Facts) -> Finding {
    let offered = capsets::that_draw(facts.capsets);
    if !offered.is_empty() {
        return Finding::good("drawing", format!("the host draws for the guest's GL or Vulkan driver: {}", offered.join(", ")));
    }
    let because = "no GPU is offered: GL is drawn by the guest's CPU, and wlroots wants WLR_RENDERER_ALLOW_SOFTWARE=1 for it";
    Finding::new(
        "drawing",
        Verdict::Slow,
        because,
        "`virgbm host --renderer virgl`, QEMU's virtio-gpu-gl-pci with a display that has GL, or a pixman renderer in the guest",
    )
}

fn foreign(facts: &Facts) -> Option<Finding> {
    let kernel = facts.kernel.filter(|kernel| *kernel < IMPORTS_FOREIGN)?;
    let because = format!("kernel {}.{} does not import buffers of other drivers: they are copied", kernel.0, kernel.1);
    Some(Finding::new("foreign buffers", Verdict::Slow, because, "a guest kernel from 6.14 on"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A guest of our device without a GPU, on a new kernel.
    fn facts() -> Facts {
        Facts {
            node: Ok(()),
            contexts: true,
            blobs: true,
            window: true,
            capsets: 1 << 20 | 1 << 5,
            backend: Ok(BackendKind::Alloc),
            cpu: Ok(()),
            screen: Screen::Connected { mode: "1024x768, 60 Hz".to_owned(), takes_our_buffers: Ok(()) },
            kernel: Some((7, 3)),
        }
    }

    fn verdicts(facts: &Facts) -> Vec<(&'static str, Verdict)> {
        judge(facts)
            .into_iter()
            .map(|finding| (finding.what, finding.verdict))
            .filter(|(_, verdict)| *verdict != Verdict::Good)
            .collect()
    }

    #[test]
    fn our_device_lacks_a_gpu_and_nothing_else() {
        assert_eq!(verdicts(&facts()), [("drawing", Verdict::Slow)]);
        assert_eq!(verdicts(&Facts { capsets: 1 << 2, ..facts() }), []);
    }

    #[test]
    fn a_host_that_draws_and_has_no_dma_bufs_is_told_of_udmabuf() {
        let findings = judge(&Facts { capsets: 1 << 20 | 1 << 2, backend: Ok(BackendKind::Virgl), ..facts() });
        let slow: Vec<_> = findings.iter().filter(|finding| finding.verdict == Verdict::Slow).collect();
        assert_eq!(slow.len(), 1);
        assert!(slow[0].advice.unwrap().contains("udmabuf"));
    }

    #[test]
    fn a_screen_that_is_missing_off_or_unwilling_is_black() {
        let unwilling = Screen::Connected { mode: String::new(), takes_our_buffers: Err("no".to_owned()) };
        for screen in [Screen::None, Screen::Disconnected, Screen::NoCard(String::new()), unwilling] {
            assert!(verdicts(&Facts { screen, ..facts() }).contains(&("screen", Verdict::Black)));
        }
    }

    #[test]
    fn without_a_node_nothing_else_is_said() {
        let broken = Facts { node: Err("/dev/dri/renderD128: Permission denied (os error 13)".to_owned()), ..facts() };
        let findings = judge(&broken);
        assert_eq!(findings.len(), 1);
        assert!(findings[0].advice.unwrap().contains("groups"));
        let none = judge(&Facts { node: Err("there is none at all".to_owned()), ..facts() });
        assert!(none[0].advice.unwrap().contains("give the VM"));
    }

    #[test]
    fn what_costs_more_than_it_must_is_slow_and_says_what_helps() {
        let two_dimensional =
            Facts { contexts: false, blobs: false, window: false, capsets: 0, backend: Ok(BackendKind::Dumb), ..facts() };
        assert_eq!(verdicts(&two_dimensional), [("allocation", Verdict::Slow), ("drawing", Verdict::Slow)]);
        let without_window = Facts { window: false, kernel: Some((6, 12)), ..facts() };
        let found = verdicts(&without_window);
        assert_eq!(found, [("window", Verdict::Slow), ("drawing", Verdict::Slow), ("foreign buffers", Verdict::Slow)]);
        assert!(judge(&without_window).iter().all(|finding| (finding.verdict == Verdict::Good) == finding.advice.is_none()));
    }

    #[test]
    fn a_host_that_serves_nobody_is_broken() {
        let broken = Facts { backend: Err("none".to_owned()), cpu: Err("none".to_owned()), ..facts() };
        assert!(verdicts(&broken).starts_with(&[("allocation", Verdict::Broken), ("CPU access", Verdict::Broken)]));
    }
}
