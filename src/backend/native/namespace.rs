//! Root without being root: the whole program runs again in a user namespace.
//!
//! What lives here: the namespace, and which owners it has numbers for. What does not: commands (`sandbox`).
//!
//! The one idea: the process replaces itself, so that nobody who waits for it or interrupts it sees a difference. With
//! the ranges of `/etc/subuid` every owner has a number; without them only root has one, and other owners are noted
//! beside their files.

#![expect(clippy::disallowed_methods, reason = "this is where processes are started")]

use std::ffi::OsString;
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::thread::UnshareFlags;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::sandbox::inside;

/// The second word, of the process that makes the namespace.
pub const ENTER: &str = "user-namespace";
/// The second word, of the process that stays outside and maps numbers.
pub const MAP: &str = "map-users";
/// The variable that says why there is no namespace.
pub const REFUSED: &str = "STAGEWRIGHT_NO_NAMESPACE";
/// What the kernel says where numbers mean what they mean to the host.
const ALL: [&str; 3] = ["0", "0", "4294967295"];

/// Runs the program again as root of a new user namespace, in place of this process.
///
/// `args` are those of this process, with the name of the program. Where namespaces are forbidden the program runs
/// again as it is, with the reason in the variable [`REFUSED`]. Errors: only when nothing was started.
pub fn become_root(program: &Path, args: &[OsString]) -> io::Error {
    Command::new(program).args([inside::COMMAND, ENTER]).args(args.iter().skip(1)).exec()
}

/// Makes the namespace and becomes the program. This process has one thread.
pub fn enter() -> u8 {
    let failure = std::env::current_exe().and_then(|program| {
        let mut command = Command::new(&program);
        command.args(std::env::args_os().skip(3));
        if let Err(error) = make(&program) {
            command.env(REFUSED, error.to_string());
        }
        Err::<(), _>(command.exec())
    });
    if let Err(error) = failure {
        let _ = writeln!(io::stderr(), "error: start our own program: {error}");
    }
    inside::NOT_STARTED
}

/// What `newuidmap` and `newgidmap` are told after the process.
#[derive(Serialize, Deserialize)]
struct Maps {
    process: u32,
    users: Vec<String>,
    groups: Vec<String>,
}

fn make(program: &Path) -> io::Result<()> {
    let uid = rustix::process::getuid().as_raw();
    let gid = rustix::process::getgid().as_raw();
    let maps = Maps {
        process: std::process::id(),
        users: map_of(uid, uid, &read("/etc/subuid")),
        groups: map_of(gid, uid, &read("/etc/subgid")),
    };
    // It has to be started before we are inside.
    let start = || Command::new(program).args([inside::COMMAND, MAP]).stdin(Stdio::piped()).spawn();
    let helper = if maps.users.len() > 3 && maps.groups.len() > 3 { start().ok() } else { None };
    let outside = |e: rustix::io::Errno| io::Error::other(format!("make a user namespace: {}", io::Error::from(e)));
    inside::unshare(UnshareFlags::NEWUSER).map_err(outside)?;
    if let Some(mut helper) = helper {
        if let Some(mut pipe) = helper.stdin.take() {
            pipe.write_all(&serde_json::to_vec(&maps).map_err(io::Error::other)?)?;
        }
        if helper.wait()?.success() {
            return Ok(());
        }
    }
    let write = |name: &str, text: &str| {
        fs::write(format!("/proc/self/{name}"), text).map_err(|e| io::Error::other(format!("write {name}: {e}")))
    };
    write("setgroups", "deny")?;
    write("gid_map", &format!("0 {gid} 1"))?;
    write("uid_map", &format!("0 {uid} 1"))
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// Gives root our own number, and all others those of our ranges: INSIDE OUTSIDE COUNT, again and again.
fn map_of(own: u32, uid: u32, ranges: &str) -> Vec<String> {
    let passwd = read("/etc/passwd");
    let number = uid.to_string();
    let name = passwd.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        (fields.get(2) == Some(&number.as_str())).then(|| fields.first().copied()).flatten()
    });
    ranges_of(own, &[Some(number.as_str()), name], ranges)
}

fn ranges_of(own: u32, names: &[Option<&str>], ranges: &str) -> Vec<String> {
    let mut map = vec!["0".to_owned(), own.to_string(), "1".to_owned()];
    let mut next = 1_u64;
    for line in ranges.lines() {
        let fields: Vec<&str> = line.trim().split(':').collect();
        let [owner, start, count] = fields.as_slice() else { continue };
        let (Ok(start), Ok(count)) = (start.parse::<u64>(), count.parse::<u64>()) else { continue };
        if names.contains(&Some(*owner)) && count > 0 {
            map.extend([next.to_string(), start.to_string(), count.to_string()]);
            next += count;
        }
    }
    map
}

/// Maps the numbers of another process; reads which from stdin.
pub fn map_users() -> u8 {
    let mut bytes = Vec::new();
    let maps =
        io::stdin().lock().read_to_end(&mut bytes).ok().and_then(|_| serde_json::from_slice::<Maps>(&bytes).ok());
    let Some(maps) = maps else { return inside::NOT_STARTED };
    let run = |program: &str, words: &[String]| {
        let mut command = Command::new(program);
        command.arg(maps.process.to_string()).args(words).stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(Stdio::null()).status().is_ok_and(|s| s.success())
    };
    // Groups first: if that fails nothing has been mapped, and the process maps itself alone.
    u8::from(!(run("newgidmap", &maps.groups) && run("newuidmap", &maps.users)))
}

/// Names the meaning of numbers of owners; `None` where it is that of the host.
pub fn numbering() -> Option<String> {
    let (users, groups) = (read("/proc/self/uid_map"), read("/proc/self/gid_map"));
    let is_host = |map: &str| map.is_empty() || map.split_whitespace().eq(ALL);
    if is_host(&users) && is_host(&groups) {
        return None;
    }
    let words = |map: &str| map.split_whitespace().collect::<Vec<_>>().join(" ");
    let hash = hex::encode(Sha256::digest(format!("{}\n{}", words(&users), words(&groups))));
    hash.get(..8).map(str::to_owned)
}

/// Says whether a number of a user exists here.
pub fn has_user(uid: u32) -> bool {
    let map = read("/proc/self/uid_map");
    map.is_empty() || is_mapped(&map, uid)
}

fn is_mapped(map: &str, uid: u32) -> bool {
    map.lines().any(|line| {
        let mut fields = line.split_whitespace().map(|f| f.parse::<u64>().unwrap_or(0));
        let (start, _, count) = (fields.next(), fields.next(), fields.next());
        start.zip(count).is_some_and(|(start, count)| (start..start + count).contains(&u64::from(uid)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_follow_each_other_and_those_of_others_are_left_out() {
        let file = "other:1:5\nme:100000:65536\n# note\n7:200000:10\nme:x:y\n";
        let map = ranges_of(7, &[Some("7"), Some("me")], file);
        assert_eq!(map.join(" "), "0 7 1 1 100000 65536 65537 200000 10");
        assert_eq!(ranges_of(7, &[Some("7"), None], "").join(" "), "0 7 1");
    }

    #[test]
    fn only_mapped_users_exist() {
        let map = "         0       1000          1\n         1     100000      65536\n";
        assert!(is_mapped(map, 0) && is_mapped(map, 65536) && !is_mapped(map, 65537));
        assert!(!is_mapped("0 1000 1\n", 1));
    }
}
