//! The terminal of the user, lent to a command.
//!
//! The one idea: a command has a terminal of its own, and everything typed goes there as it is. So ^C is for the command,
//! and its shell has jobs; we only carry bytes, and put the user's terminal back as it was.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::termios::{OptionalActions, Termios, Winsize, tcgetattr, tcgetwinsize, tcsetattr};

/// How soon a change of the terminal's size is noticed.
pub const NOTICE: Duration = Duration::from_millis(200);
/// How much is carried at once. Unit: bytes.
pub const PIECE: usize = 16 * 1024;

/// The user's terminal, which hands every byte on until this is dropped.
pub struct Terminal {
    file: File,
    before: Termios,
}

impl Terminal {
    /// Takes the terminal of this process.
    ///
    /// # Errors
    /// It has none.
    pub fn take() -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open("/dev/tty")?;
        let before = tcgetattr(&file)?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(&file, OptionalActions::Drain, &raw)?;
        Ok(Self { file, before })
    }

    /// Returns how large it is now.
    pub fn size(&self) -> Option<Winsize> {
        tcgetwinsize(&self.file).ok()
    }

    /// Shows what the command wrote.
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn show(&self, bytes: &[u8]) -> io::Result<()> {
        (&self.file).write_all(bytes)
    }

    /// Returns what was typed, once `PollFlags::IN` was told.
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn typed<'a>(&self, piece: &'a mut [u8]) -> io::Result<&'a [u8]> {
        let count = (&self.file).read(piece)?;
        Ok(piece.get(..count).unwrap_or_default())
    }

    /// Waits for something to be typed; `false` when nothing was in [`NOTICE`].
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn wait(&self) -> io::Result<bool> {
        let mut ends = [PollFd::new(&self.file, PollFlags::IN)];
        wait_for(&mut ends)
    }
}

impl AsFd for Terminal {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = tcsetattr(&self.file, OptionalActions::Drain, &self.before);
    }
}

/// Waits for one of several; `false` when nothing happened in [`NOTICE`].
///
/// # Errors
/// The operating system refuses.
pub fn wait_for(ends: &mut [PollFd<'_>]) -> io::Result<bool> {
    let timeout = Timespec::try_from(NOTICE).expect("a fraction of a second fits");
    match poll(ends, Some(&timeout)) {
        Ok(count) => Ok(count > 0),
        Err(Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// A terminal for a command: our end of it, and the file that is the command's.
pub struct Pty {
    ours: OwnedFd,
    /// Keeps ours readable while the command opens its own.
    theirs: File,
    /// The command's terminal.
    pub path: std::path::PathBuf,
}

impl Pty {
    /// Makes a terminal.
    ///
    /// # Errors
    /// The operating system refuses.
    pub fn new() -> io::Result<Self> {
        use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        grantpt(&ours)?;
        unlockpt(&ours)?;
        let name = ptsname(&ours, Vec::new())?;
        let path = std::path::PathBuf::from(name.to_string_lossy().into_owned());
        use std::os::unix::fs::OpenOptionsExt as _;
        let flags = rustix::fs::OFlags::NOCTTY.bits() as i32;
        let theirs = OpenOptions::new().read(true).write(true).custom_flags(flags).open(&path)?;
        Ok(Self { ours, theirs, path })
    }

    /// Carries bytes until the process behind `process` (a pidfd) ended and all that it wrote is shown.
    ///
    /// # Errors
    /// A terminal is gone. `each` is called now and then.
    pub fn serve(
        self,
        terminal: &Terminal,
        process: &OwnedFd,
        mut each: impl FnMut() -> io::Result<()>,
    ) -> io::Result<()> {
        let mut piece = vec![0; PIECE];
        let mut size = None;
        loop {
            let now = terminal.size();
            if let Some(new) = now
                && size.is_none_or(|old: Winsize| (old.ws_row, old.ws_col) != (new.ws_row, new.ws_col))
            {
                let _ = rustix::termios::tcsetwinsize(&self.ours, new);
                size = Some(new);
            }
            each()?;
            let mut ends = [
                PollFd::new(&self.ours, PollFlags::IN),
                PollFd::new(terminal, PollFlags::IN),
                PollFd::new(process, PollFlags::IN),
            ];
            wait_for(&mut ends)?;
            let [written, typed, ended] = ends.map(|end| !end.revents().is_empty());
            if written {
                let count = rustix::io::read(&self.ours, &mut piece)?;
                terminal.show(piece.get(..count).unwrap_or_default())?;
            } else if ended {
                break;
            }
            if typed {
                let mut rest = terminal.typed(&mut piece)?;
                while !rest.is_empty() {
                    let count = rustix::io::write(&self.ours, rest)?;
                    rest = rest.get(count..).unwrap_or_default();
                }
            }
        }
        drop(self.theirs);
        Ok(())
    }
}
