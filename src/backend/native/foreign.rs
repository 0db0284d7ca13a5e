//! Commands for machines of another kind: what this one can run.
//!
//! The one idea: the kernel is asked. It runs programs of its own kind, and those that an interpreter is registered for;
//! the interpreter must be one that the kernel holds open (flag `F`), for inside an image there is none.

#![expect(clippy::disallowed_methods, reason = "the kernel is asked by its files")]

use std::fs;
use std::path::Path;

use crate::stage::Platform;

/// Where the kernel tells of interpreters.
const BINFMT: &str = "/proc/sys/fs/binfmt_misc";

/// Says why commands for a platform cannot run on this machine; `None` where they can.
pub fn cannot_run(platform: &Platform) -> Option<String> {
    cannot_run_on(platform, std::env::consts::ARCH, Path::new(BINFMT))
}

fn cannot_run_on(platform: &Platform, host: &str, binfmt: &Path) -> Option<String> {
    let host = architecture(host);
    if platform.os != "linux" {
        return Some(format!("programs of {} do not run on Linux", platform.os));
    }
    // A kernel also runs the programs of the smaller machine that it can be.
    let native = platform.architecture == host
        || matches!((host, platform.architecture.as_str()), ("amd64", "386") | ("arm64", "arm"));
    if native {
        return None;
    }
    let Some(machine) = machine(&platform.architecture) else {
        return Some(format!("this machine is linux/{host}"));
    };
    let entries = fs::read_dir(binfmt).into_iter().flatten().flatten();
    let registered = entries.filter_map(|entry| fs::read_to_string(entry.path()).ok());
    let found: Vec<bool> = registered.filter_map(|text| interpreter(&text, machine)).collect();
    match found.iter().max() {
        Some(true) => None,
        Some(false) => Some(format!(
            "this machine is linux/{host}, and the interpreter of {} is not registered with the flag F",
            platform.architecture
        )),
        None => {
            Some(format!("this machine is linux/{host}, and no interpreter of {} is registered", platform.architecture))
        }
    }
}

/// Returns the architecture in the words of images. Source: Go, GOARCH.
fn architecture(rust: &str) -> &str {
    match rust {
        "x86_64" => "amd64",
        "x86" => "386",
        "aarch64" => "arm64",
        "powerpc64" => "ppc64le",
        "loongarch64" => "loong64",
        other => other,
    }
}

/// Returns the machine number in the header of its programs, as bytes in hexadecimal. Source: ELF, `e_machine`.
fn machine(architecture: &str) -> Option<&'static str> {
    Some(match architecture {
        "386" => "0300",
        "amd64" => "3e00",
        "arm" => "2800",
        "arm64" => "b700",
        "loong64" => "0201",
        "mips64le" => "0800",
        "ppc64le" => "1500",
        "riscv64" => "f300",
        "s390x" => "0016",
        _ => return None,
    })
}

/// Says whether a registration holds its interpreter open; `None` when it is not in force, or for another machine.
fn interpreter(text: &str, machine: &str) -> Option<bool> {
    let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)).map(str::trim);
    let magic = value("magic ")?;
    let is_elf = magic.starts_with("7f454c46") && magic.get(36..40) == Some(machine);
    let in_force = text.lines().next() == Some("enabled") && is_elf;
    in_force.then(|| value("flags:").is_some_and(|flags| flags.contains('F')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(platform: &str, host: &str, registered: &[(&str, &str)]) -> Option<String> {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in registered {
            fs::write(dir.path().join(name), text).unwrap();
        }
        cannot_run_on(&Platform::parse(platform).unwrap(), host, dir.path())
    }

    const QEMU: &str = "enabled\ninterpreter /usr/bin/qemu-aarch64-static\nflags: OCF\noffset 0\nmagic 7f454c460201010000000000000000000200b700\nmask ffffffffffffff00fffffffffffffffffeffffff\n";

    #[test]
    fn own_programs_run_and_foreign_ones_need_an_interpreter_that_is_held_open() {
        assert_eq!(told("linux/amd64/v2", "x86_64", &[]), None);
        assert_eq!(told("linux/386", "x86_64", &[]), None);
        assert_eq!(told("linux/aarch64", "aarch64", &[]), None);
        let status = ("status", "enabled");
        let why = told("linux/arm64", "x86_64", &[status]).unwrap();
        assert_eq!(why, "this machine is linux/amd64, and no interpreter of arm64 is registered");
        assert_eq!(told("linux/arm64/v8", "x86_64", &[status, ("qemu-aarch64", QEMU)]), None);
        assert!(told("linux/arm64", "x86_64", &[("q", &QEMU.replace("OCF", "OC"))]).unwrap().contains("flag F"));
        assert!(told("linux/arm64", "x86_64", &[("q", &QEMU.replace("enabled", "disabled"))]).is_some());
        assert!(told("linux/s390x", "x86_64", &[("q", QEMU)]).unwrap().contains("s390x"));
        assert!(told("windows/amd64", "x86_64", &[]).is_some());
        assert!(cannot_run_on(&Platform::parse("linux/arm64").unwrap(), "x86_64", Path::new("/nowhere")).is_some());
    }
}
