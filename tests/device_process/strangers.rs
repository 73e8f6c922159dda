//! Strangers on the process's sockets neither end it nor leave anything in it.

use crate::process::Process;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// A vhost-user message: request, version 1, size, and what follows, which need not be as long.
fn message(request: u32, size: u32, payload: &[u8]) -> Vec<u8> {
    [&request.to_le_bytes()[..], &1u32.to_le_bytes(), &size.to_le_bytes(), payload].concat()
}

#[test]
fn strangers_that_speak_nonsense_leave_the_process_as_it_was() {
    let process = Process::start();
    let nonsense = [
        vec![],
        vec![0; 11],
        vec![0xff; 400],
        message(1, 0, &[]),
        message(1, u32::MAX, &[0; 8]),
        message(2, 8, &[0xff; 8]),
        message(5, 8, &[0xff; 8]),
        message(8, 8, &[0xff; 8]),
        message(24, 12, &[0xff; 12]),
        message(44, 0, &[]),
        [message(3, 0, &[]), message(11, 8, &[0; 8]), message(12, 8, &[9; 8])].concat(),
        (0..4096u32).flat_map(|at| (at.wrapping_mul(2_654_435_761) >> 13).to_le_bytes()).collect(),
    ];
    let connect = |bytes: &[u8]| {
        let mut socket = UnixStream::connect(process.gpu()).unwrap();
        let _sent = socket.write_all(bytes);
        let _shut = socket.shutdown(std::net::Shutdown::Write);
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut answers = Vec::new();
        let _answered = socket.read_to_end(&mut answers);
    };
    connect(&[]);
    let before = process.descriptors();
    for bytes in &nonsense {
        connect(bytes);
        connect(bytes);
    }
    assert_eq!(process.descriptors(), before);
    assert!(String::from_utf8_lossy(&process.ctl(&["stats"]).stderr).contains("no VMM is connected"));
}

#[test]
fn a_termination_is_a_clean_end() {
    let mut process = Process::start();
    let pid = rustix::process::Pid::from_raw(process.id() as i32).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert!(process.wait().success());
    assert!(!process.gpu().exists() && !process.ctl_socket().exists());
}

#[test]
fn strangers_on_the_control_socket_get_an_end_and_others_an_answer() {
    let process = Process::start();
    for bytes in [&b""[..], b"\n", b"{}\n", b"\"Paint\"\n", &[0xff; 100_000]] {
        let mut socket = UnixStream::connect(process.ctl_socket()).unwrap();
        let _sent = socket.write_all(bytes);
        let _shut = socket.shutdown(std::net::Shutdown::Write);
        let mut answers = Vec::new();
        let _answered = socket.read_to_end(&mut answers);
    }
    for arguments in [
        &["list"][..],
        &["stats"],
        &["dump", "1", "/nonexistent/x"],
        &["screenshot", "/nonexistent/x.png"],
        &["screenshot", "--cursor", "/nonexistent/x.png"],
    ] {
        let output = process.ctl(arguments);
        assert!(!output.status.success());
        assert!(String::from_utf8_lossy(&output.stderr).contains("no VMM is connected"));
    }
}
