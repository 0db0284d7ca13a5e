//! Commands in Linux namespaces, run by our own program running again.
//!
//! What lives here: the side of the builder. What does not: where the files of the root come from (`../roots.rs`).
//!
//! The one idea: the pipe to the re-executed process is a leash. When it breaks, for whatever reason, the process
//! namespace behind it dies, and with it its mounts.

#![expect(clippy::disallowed_methods, reason = "this is where processes are started")]

pub mod inside;
pub mod spec;

use std::io::{self, BufRead as _, BufReader, Read, Write as _};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags};

use self::spec::Spec;
use crate::backend::terminal::{Pty, Terminal, wait_for};

/// How long a line of output may get. Unit: bytes.
const MAX_LINE: u64 = 64 * 1024;
/// How soon a cancellation is noticed.
const NOTICE: Duration = Duration::from_millis(50);
/// Who does not hear so many signals is killed.
const MOST_SIGNALS: usize = 2;

/// What became of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It ended, with this status.
    Exited(i32),
    /// It was not started, for this reason.
    NotStarted(String),
    /// It was killed because the run was cancelled.
    Cancelled,
}

/// Runs a command to its end; `output` gets each line, from two threads.
pub fn run(program: &Path, spec: &Spec, cancelled: &AtomicBool, output: &(dyn Fn(&str) + Sync)) -> io::Result<Ended> {
    let mut line = serde_json::to_vec(spec).map_err(io::Error::other)?;
    line.push(b'\n');
    let mut command = Command::new(program);
    command.arg(inside::COMMAND).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).env_clear();
    let mut child = command.spawn()?;
    let mut leash = child.stdin.take();
    let pipes = (child.stdout.take(), child.stderr.take());
    let process = rustix::process::pidfd_open(Pid::from_child(&child), PidfdFlags::empty())?;
    let mut gave_up = false;
    std::thread::scope(|scope| -> io::Result<()> {
        scope.spawn(|| pipes.0.map(|pipe| tell_lines(pipe, output)));
        scope.spawn(|| pipes.1.map(|pipe| tell_lines(pipe, output)));
        if let Some(pipe) = &mut leash {
            pipe.write_all(&line)?;
        }
        loop {
            let timeout = Timespec::try_from(NOTICE).expect("a fraction of a second fits");
            let mut ends = [PollFd::new(&process, PollFlags::IN)];
            match poll(&mut ends, Some(&timeout)) {
                Ok(0) | Err(Errno::INTR) => {}
                Ok(_) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
            if cancelled.load(Ordering::Relaxed) {
                gave_up = true;
                leash = None;
            }
        }
    })?;
    let status = child.wait()?;
    if gave_up {
        return Ok(Ended::Cancelled);
    }
    Ok(ended(status, &std::fs::read_to_string(&spec.report).unwrap_or_default()))
}

/// What an attached command talks to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Console {
    /// A terminal of its own, shown on that of the user.
    Terminal,
    /// The stdin, stdout and stderr of this process.
    Given,
}

/// Runs a command that the user talks to; `signal` may be set to the number of a signal, which is handed on.
pub fn attached(program: &Path, mut spec: Spec, console: Console, signal: &AtomicUsize) -> io::Result<Ended> {
    let pty = match console {
        Console::Terminal => Some((Pty::new()?, Terminal::take()?)),
        Console::Given => None,
    };
    spec.terminal = pty.as_ref().map(|(pty, _)| pty.path.clone());
    if pty.is_none() {
        spec.stdin = Some(format!("/proc/{}/fd/0", std::process::id()).into());
    }
    let mut line = serde_json::to_vec(&spec).map_err(io::Error::other)?;
    line.push(b'\n');
    let output = || if console == Console::Terminal { Stdio::null() } else { Stdio::inherit() };
    let mut command = Command::new(program);
    command.arg(inside::COMMAND).stdin(Stdio::piped()).stdout(output()).stderr(output()).env_clear();
    let mut child = command.spawn()?;
    let mut leash = child.stdin.take();
    let process = rustix::process::pidfd_open(Pid::from_child(&child), PidfdFlags::empty())?;
    if let Some(pipe) = &mut leash {
        pipe.write_all(&line)?;
    }
    let mut signals = 0;
    let mut hand_on = || {
        let number @ 1..=64 = signal.swap(0, Ordering::Relaxed) else { return Ok(()) };
        signals += 1;
        match &mut leash {
            Some(pipe) if signals <= MOST_SIGNALS => pipe.write_all(&[number as u8]),
            Some(_) | None => {
                leash = None;
                Ok(())
            }
        }
    };
    match pty {
        Some((pty, terminal)) => pty.serve(&terminal, &process, hand_on)?,
        None => loop {
            let mut ends = [PollFd::new(&process, PollFlags::IN)];
            if wait_for(&mut ends)? {
                break;
            }
            hand_on()?;
        },
    }
    let status = child.wait()?;
    Ok(ended(status, &std::fs::read_to_string(&spec.report).unwrap_or_default()))
}

/// Says whether layers can be mounted over each other in an empty folder.
pub fn can_mount_layers(program: &Path, folder: &Path) -> bool {
    let mut command = Command::new(program);
    command.args([inside::COMMAND, inside::PROBE]).current_dir(folder).env_clear();
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|s| s.success())
}

fn ended(status: ExitStatus, report: &str) -> Ended {
    if !report.is_empty() {
        return Ended::NotStarted(report.to_owned());
    }
    match status.code() {
        Some(code) => Ended::Exited(code),
        None => Ended::NotStarted(format!("our own program ended: {status}")),
    }
}

fn tell_lines(pipe: impl Read, output: &(dyn Fn(&str) + Sync)) {
    let mut reader = BufReader::new(pipe);
    let mut line = Vec::new();
    loop {
        line.clear();
        match (&mut reader).take(MAX_LINE).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => {
                let text = String::from_utf8_lossy(&line);
                output(text.trim_end_matches(['\n', '\r']));
            }
        }
    }
}
