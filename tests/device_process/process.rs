//! The process under test.

use crate::guest::{self, kind};
use crate::vmm::Vmm;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use virgbm::wire::virtio_gpu::Reply;

/// No test takes as long.
const LIFETIME: Duration = Duration::from_secs(120);

pub struct Process {
    child: Child,
    folder: tempfile::TempDir,
    /// Kills the process when it hangs: a frontend waits for its answers without a limit.
    watchdog: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Process {
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_virgbm"));
        if std::env::var_os("RUST_LOG").is_none() {
            // What these tests do fills its log with errors.
            command.env("RUST_LOG", "off");
        }
        let child = command
            .args(["host", "--socket"])
            .arg(folder.path().join("gpu"))
            .arg("--control")
            .arg(folder.path().join("ctl"))
            .spawn()
            .unwrap();
        let pid = rustix::process::Pid::from_child(&child);
        let (done, ended) = channel();
        let watchdog = std::thread::spawn(move || {
            if ended.recv_timeout(LIFETIME) == Err(RecvTimeoutError::Timeout) {
                // It is waited for only after this thread, so the number is still its own.
                let _killed = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        });
        let process = Self { child, folder, watchdog: Some((done, watchdog)) };
        process.wait_for(|process| process.gpu().exists() && process.ctl_socket().exists());
        process
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn gpu(&self) -> PathBuf {
        self.folder.path().join("gpu")
    }

    pub fn ctl_socket(&self) -> PathBuf {
        self.folder.path().join("ctl")
    }

    fn proc(&self, file: &str) -> PathBuf {
        Path::new("/proc").join(self.id().to_string()).join(file)
    }

    pub fn wait_for(&self, condition: impl Fn(&Self) -> bool) {
        let start = Instant::now();
        while !condition(self) {
            assert!(start.elapsed() < Duration::from_secs(20), "it does not come to pass");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// How many descriptors it has once that does not change any more: between two connections it has fewer for a moment.
    pub fn descriptors(&self) -> usize {
        let count = || std::fs::read_dir(self.proc("fd")).unwrap().count();
        let (mut last, mut same) = (count(), 0);
        while same < 30 {
            std::thread::sleep(Duration::from_millis(10));
            let now = count();
            same = if now == last { same + 1 } else { 0 };
            last = now;
        }
        last
    }

    /// Lets it have so many descriptors more than it has, and no others.
    pub fn limit_descriptors(&self, more: u64) {
        let current = Some(self.descriptors() as u64 + more);
        let limit = rustix::process::Rlimit { current, maximum: current };
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::prlimit(Some(pid), rustix::process::Resource::Nofile, limit).unwrap();
    }

    /// The processor time that it has used, in clock ticks.
    fn ticks(&self) -> u64 {
        let stat = std::fs::read_to_string(self.proc("stat")).unwrap();
        let fields: Vec<_> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        // Fields 14 and 15 of proc(5), whose third comes first here.
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    }

    /// Nobody asks anything of it, and it does nothing: no thread goes round a ring again and again.
    pub fn assert_idle(&self) {
        let quiet = |process: &Self| {
            let before = process.ticks();
            std::thread::sleep(Duration::from_millis(500));
            process.ticks() - before <= 10
        };
        assert!((0..3).any(|_| quiet(self)), "it works without end");
    }

    /// A VMM that comes now, with a guest that behaves, gets its answers.
    pub fn assert_serves(&self) {
        let mut vmm = Vmm::connect(self);
        let answer = vmm.send(&[&guest::display_info()], 512);
        assert_eq!(kind(&answer), Reply::OkDisplayInfo.number());
    }

    pub fn ctl(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_virgbm"))
            .args(["ctl", "--control"])
            .arg(self.ctl_socket())
            .args(arguments)
            .output()
            .unwrap()
    }

    /// One number of `virgbm ctl stats`.
    pub fn stat(&self, name: &str) -> u64 {
        let output = self.ctl(&["--json", "stats"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()[name].as_u64().unwrap()
    }

    fn call_off_the_watchdog(&mut self) {
        if let Some((done, thread)) = self.watchdog.take() {
            drop(done);
            thread.join().unwrap();
        }
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        self.call_off_the_watchdog();
        self.child.wait().unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.call_off_the_watchdog();
        // It may have ended already.
        let _killed = self.child.kill();
        self.child.wait().unwrap();
    }
}
