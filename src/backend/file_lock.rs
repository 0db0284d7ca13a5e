//! Locks as files: for processes of one machine, or of several over a shared disk that knows locks.
//!
//! The one idea: the operating system holds the lock and frees it when its process dies; the file's text only tells
//! who has it.
#![expect(clippy::disallowed_methods, reason = "this is where lock files are written")]

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::path::PathBuf;

use super::disk::is_same_file;
use crate::ports::{Lock, LockError, LockGuard};

/// Locks in a folder, a file each.
#[derive(Clone, Debug)]
pub struct FileLock {
    dir: PathBuf,
}

/// Keeps the file open, and with it the lock. The file stays: removing it would race with the next holder.
struct Guard(File);

impl LockGuard for Guard {}

impl Drop for Guard {
    fn drop(&mut self) {
        // Only for people who look into the file.
        let _ = self.0.set_len(0);
        // Said, not left to the closing of the file: a child process that another thread is starting at this moment
        // has a copy of the handle until it runs its program, and would hold the lock as long.
        let _ = self.0.unlock();
    }
}

impl FileLock {
    /// Names the folder; it is made with the first lock.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// Returns a file name for any text: what is not plain is written as its bytes.
    fn file_name(name: &str) -> String {
        let mut safe = String::from("lock-");
        for byte in name.bytes() {
            match byte {
                b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' => safe.push(char::from(byte)),
                other => safe.extend(['_', hex_digit(other >> 4), hex_digit(other & 15)]),
            }
        }
        safe
    }
}

fn hex_digit(value: u8) -> char {
    char::from_digit(u32::from(value), 16).unwrap_or('0')
}

impl Lock for FileLock {
    fn try_lock(&self, name: &str, holder: &str) -> Result<Box<dyn LockGuard>, LockError> {
        let path = self.dir.join(Self::file_name(name));
        let failed = |source: io::Error| LockError::Io { attempt: format!("lock `{}`", path.display()), source };
        fs::create_dir_all(&self.dir).map_err(failed)?;
        loop {
            let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
            let mut file = open.map_err(failed)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::Error(source)) => return Err(failed(source)),
                Err(TryLockError::WouldBlock) => {
                    let told = fs::read_to_string(&path).unwrap_or_default();
                    let told = told.trim();
                    let holder = if told.is_empty() { "another process" } else { told }.to_owned();
                    return Err(LockError::Held { name: name.to_owned(), holder, since: None });
                }
            }
            if is_same_file(&file, &path).map_err(failed)? {
                file.set_len(0).and_then(|()| writeln!(file, "{holder}")).map_err(failed)?;
                return Ok(Box::new(Guard(file)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_are_plain_and_tell_names_apart() {
        assert_eq!(FileLock::file_name("shop-prod"), "lock-shop-prod");
        assert_ne!(FileLock::file_name("../A"), FileLock::file_name("../a"));
        assert!(!FileLock::file_name("../A").contains('/'));
    }
}
