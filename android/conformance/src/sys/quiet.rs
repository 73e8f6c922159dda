//! Work in a child process: also in one that the kernel kills at its first system call (seccomp's strict mode).

/// How the child ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Ending {
    /// It did the work without a call.
    Quiet,
    /// The work failed.
    Failed,
    /// It was killed, by a call that it made.
    Killed,
    /// The kernel has no such mode, or no child.
    NotTried,
}

/// Does the work twice in a child: once to make what is made once, then again where no call is allowed.
pub fn run(mut work: impl FnMut() -> bool) -> Ending {
    let ended = child(|| {
        let warm = work();
        // SAFETY: the mode takes no memory; from here on the kernel allows read, write and exit alone.
        let strict = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_STRICT) } == 0;
        if strict { i32::from(!(warm && work())) } else { 2 }
    });
    match ended {
        None => Ending::NotTried,
        Some(Ok(0)) => Ending::Quiet,
        Some(Ok(1)) => Ending::Failed,
        Some(Ok(_)) => Ending::NotTried,
        Some(Err(_)) => Ending::Killed,
    }
}

/// Does some work in another process, which has all that this one has; `None` where it did not end by itself.
pub fn in_child(work: impl FnOnce() -> bool) -> Option<bool> {
    child(|| i32::from(!work())).and_then(Result::ok).map(|code| code == 0)
}

/// How a child ended that does some work: its code, or the signal that killed it; `None` where there was none.
fn child(work: impl FnOnce() -> i32) -> Option<Result<i32, i32>> {
    // SAFETY: the child does the work, and ends without returning.
    match unsafe { libc::fork() } {
        -1 => None,
        0 => {
            let code = work();
            // SAFETY: it ends this thread, which is the child's only one, and runs nothing else.
            unsafe { libc::syscall(libc::SYS_exit, code) };
            std::process::abort();
        }
        child => {
            let mut status = 0;
            // SAFETY: the status is written to an integer that lives.
            let ended = unsafe { libc::waitpid(child, &raw mut status, 0) } == child;
            let code = if libc::WIFEXITED(status) { Ok(libc::WEXITSTATUS(status)) } else { Err(libc::WTERMSIG(status)) };
            ended.then_some(code)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_found_and_none_is_too() {
        assert_eq!(run(|| true), Ending::Quiet);
        assert_eq!(run(|| false), Ending::Failed);
        assert_eq!(run(|| std::fs::metadata("/").is_ok()), Ending::Killed);
    }
}
