//! The re-executed process: from a [`Spec`] on stdin to the running command.
//!
//! Two processes. The *supervisor* leaves the namespaces of the builder, starts the *first process* of the new
//! process namespace, and watches its own stdin: when that ends, the builder is gone or gave up, and the first
//! process is killed; the kernel then kills everything in the namespace and takes its mounts apart. The first
//! process mounts, gives up rights, and becomes the command.

#![expect(clippy::disallowed_methods, reason = "this is where processes and mounts are made")]

use std::fs::{self, File};
use std::io::{self, BufRead as _, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _, symlink};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind, mount_bind_recursive, mount_change,
    mount_remount, unmount,
};
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions};
use rustix::thread::{CapabilitySet, UnshareFlags};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};

use super::super::namespace;
use super::spec::{Mount, Root, Spec, Upper};

/// The first word of the hidden command line.
pub const COMMAND: &str = "internal-run";
/// The second word, of the first process.
pub const FIRST: &str = "first";
/// The second word, of the process that tries whether layers can be mounted over each other.
pub const PROBE: &str = "probe";
/// The second word, of the process that runs one more command in a root that is mounted.
pub const ENTER: &str = "enter";
/// The name that commands see of their host. Source: BuildKit; some write it into files.
const HOSTNAME: &str = "buildkitsandbox";
/// The exit status when the command was never started.
pub const NOT_STARTED: u8 = 125;

/// Runs as the process that the arguments name; returns the exit status.
pub fn run(first: bool) -> u8 {
    if first {
        let spec = read_spec();
        // Opened before the root changes.
        let mut report = spec.as_ref().ok().and_then(|s| File::create(&s.report).ok());
        let failure = spec.map_or_else(|e| Failure::new("read what to run", e), |spec| become_command(&spec));
        if let Some(report) = &mut report {
            let _ = report.write_all(failure.to_string().as_bytes());
        }
        return NOT_STARTED;
    }
    match supervise() {
        Ok(status) => status,
        Err(failure) => {
            if let Some(path) = failure.report.as_ref() {
                let _ = fs::write(path, failure.to_string());
            }
            NOT_STARTED
        }
    }
}

/// Tries in the current directory, in folders of these names, whether layers can be mounted; the status says it.
pub fn probe() -> u8 {
    let tried = || -> io::Result<()> {
        unshare(UnshareFlags::NEWNS)?;
        mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
        for name in ["lower", "upper", "work", "at"] {
            fs::create_dir(name)?;
        }
        fs::write("lower/file", "")?;
        let upper = Upper { changes: "upper".into(), work: "work".into() };
        mount_root(&Root { lowers: vec!["lower".into()], upper: Some(upper), at: "at".into() })?;
        fs::remove_file("at/file")?;
        unmount("at", UnmountFlags::DETACH)?;
        Ok(())
    };
    u8::from(tried().is_err())
}

/// What could not be done.
struct Failure {
    attempt: String,
    cause: io::Error,
    report: Option<PathBuf>,
}

impl Failure {
    fn new(attempt: impl Into<String>, cause: impl Into<io::Error>) -> Self {
        Self { attempt: attempt.into(), cause: cause.into(), report: None }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.attempt, self.cause)
    }
}

trait Attempt<T> {
    fn attempt(self, what: &str) -> Result<T, Failure>;
}

impl<T, E: Into<io::Error>> Attempt<T> for Result<T, E> {
    fn attempt(self, what: &str) -> Result<T, Failure> {
        self.map_err(|e| Failure::new(what, e))
    }
}

fn read_spec() -> io::Result<Spec> {
    let mut text = String::new();
    io::stdin().lock().read_to_string(&mut text)?;
    serde_json::from_str(&text).map_err(io::Error::other)
}

// The supervisor

fn supervise() -> Result<u8, Failure> {
    // A line, then nothing more until the end: no byte of it may stay in a buffer.
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line).attempt("read what to run")?;
    let spec: Spec = serde_json::from_str(&line).map_err(io::Error::other).attempt("read what to run")?;
    let told = |failure: Failure| Failure { report: Some(spec.report.clone()), ..failure };
    let mut child = start_first(&spec, &line).map_err(told)?;
    wait(&mut child).attempt("wait for the command").map_err(told)
}

fn start_first(spec: &Spec, line: &str) -> Result<Child, Failure> {
    // ^C is told by the builder alone.
    let _ = rustix::process::setsid();
    let mut flags = UnshareFlags::NEWNS | UnshareFlags::NEWPID | UnshareFlags::NEWIPC | UnshareFlags::NEWUTS;
    if !spec.network {
        flags |= UnshareFlags::NEWNET;
    }
    unshare(flags).attempt("make namespaces for the command")?;
    let propagation = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", propagation).attempt("keep mounts to ourselves")?;
    let program = std::env::current_exe().attempt("find our own program")?;
    let mut child =
        Command::new(program).args([COMMAND, FIRST]).stdin(Stdio::piped()).spawn().attempt("start our own program")?;
    if let Some(mut pipe) = child.stdin.take() {
        pipe.write_all(line.as_bytes()).attempt("tell what to run")?;
    }
    Ok(child)
}

#[expect(deprecated, reason = "the safe form; we have one thread and share no file descriptors")]
pub fn unshare(flags: UnshareFlags) -> rustix::io::Result<()> {
    rustix::thread::unshare(flags)
}

/// Waits for the first process, or kills it when our stdin ends.
fn wait(child: &mut Child) -> io::Result<u8> {
    let pid = Pid::from_child(child);
    let process = rustix::process::pidfd_open(pid, PidfdFlags::empty())?;
    let stdin = io::stdin();
    loop {
        let mut ends = [PollFd::new(&process, PollFlags::IN), PollFd::new(&stdin, PollFlags::IN)];
        match poll(&mut ends, None) {
            Err(Errno::INTR) => continue,
            other => other?,
        };
        let [process, input] = &ends;
        if !process.revents().is_empty() {
            break;
        }
        if !input.revents().is_empty() {
            // A byte is the number of a signal; the end is the end.
            let mut number = [0];
            if let Ok(1..) = rustix::io::read(&stdin, &mut number) {
                hand_on(pid, number[0]);
            } else {
                child.kill()?;
                break;
            }
        }
    }
    let status = child.wait()?;
    let signalled = || status.signal().map_or(NOT_STARTED, |s| 128_u8.wrapping_add(s as u8));
    Ok(status.code().map_or_else(signalled, |code| code as u8))
}

fn hand_on(pid: Pid, number: u8) {
    if let Some(signal) = Signal::from_named_raw(i32::from(number)) {
        let _ = rustix::process::kill_process(pid, signal);
    }
}

// The first process

fn become_command(spec: &Spec) -> Failure {
    match prepare(spec) {
        Ok(mut command) => {
            let error = if spec.stays { stay(spec, command) } else { command.exec() };
            Failure::new(format!("start `{}`", spec.words.first().map_or("", String::as_str)), error)
        }
        Err(failure) => failure,
    }
}

/// Stays in front of the command, hands signals on, and ends with its status; returns why it was not started.
fn stay(spec: &Spec, mut command: Command) -> io::Error {
    let caught = std::sync::Arc::new(AtomicUsize::new(0));
    for signal in [SIGINT, SIGQUIT, SIGHUP, SIGTERM, SIGUSR1, SIGUSR2] {
        // What is typed comes to the command from its terminal.
        let typed = spec.terminal.is_some() && [SIGINT, SIGQUIT].contains(&signal);
        let value = if typed { 0 } else { signal as usize };
        if let Err(error) = signal_hook::flag::register_usize(signal, caught.clone(), value) {
            return error;
        }
    }
    let child = match command.spawn() {
        Ok(child) => child,
        Err(error) => return error,
    };
    let status = wait_in_front(Pid::from_child(&child), &caught);
    #[expect(clippy::exit, reason = "what would follow is for a command that was not started")]
    std::process::exit(i32::from(status.unwrap_or(NOT_STARTED)))
}

fn wait_in_front(pid: Pid, caught: &AtomicUsize) -> io::Result<u8> {
    let process = rustix::process::pidfd_open(pid, PidfdFlags::empty())?;
    let mut is_there = true;
    loop {
        // Whoever lost its parent is ours.
        while let Ok(Some((ended, status))) = rustix::process::wait(WaitOptions::NOHANG) {
            if ended == pid {
                let signalled = status.terminating_signal().map(|signal| 128_u8.wrapping_add(signal as u8));
                return Ok(status.exit_status().map_or(signalled.unwrap_or(NOT_STARTED), |code| code as u8));
            }
        }
        let number = caught.swap(0, Ordering::Relaxed);
        if number != 0 {
            hand_on(pid, number as u8);
        }
        let timeout = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
        let mut ends = [PollFd::new(&process, PollFlags::IN)];
        // Once it is over it stays over; then only the wait above counts.
        let ends = if is_there { &mut ends[..] } else { &mut [] };
        is_there = !matches!(poll(ends, Some(&timeout)), Ok(1..)) && is_there;
    }
}

fn prepare(spec: &Spec) -> Result<Command, Failure> {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    std::env::set_current_dir(&spec.folder).attempt("go to the folder of layers")?;
    if spec.terminal.is_some() || spec.stdin.is_none() {
        let _ = rustix::process::setsid();
    }
    // The first terminal that the first process of a session opens is that of the session.
    let open = |path: &PathBuf| fs::OpenOptions::new().read(true).write(true).open(path).attempt("open the terminal");
    let terminal = spec.terminal.as_ref().map(open).transpose()?;
    let stdin = spec.stdin.as_ref().map(|path| File::open(path).attempt("open stdin, which must be a file or a pipe"));
    let stdin = stdin.transpose()?;
    mount_root(&spec.root).attempt("mount the root of the command")?;
    let root = PathBuf::from(&spec.root.at);
    for entry in &spec.mounts {
        mount_one(&root, entry, spec).map_err(|e| Failure::new(told_mount(entry), e))?;
    }
    rustix::system::sethostname(HOSTNAME.as_bytes()).attempt("set the name of the host")?;
    if !spec.network {
        bring_up_loopback().attempt("bring up the loopback interface")?;
    }
    if !spec.outside {
        go_in(&root)?;
    }
    let dir = Path::new(&spec.working_dir);
    if !dir.exists() {
        fs::create_dir_all(dir).attempt("make the working directory")?;
    }
    let null = || File::open("/dev/null").attempt("open /dev/null");
    let mut command = command_of(spec);
    if let Some(terminal) = &terminal {
        let copy = || terminal.try_clone().attempt("use the terminal");
        command.stdin(copy()?).stdout(copy()?).stderr(copy()?);
    } else if let Some(stdin) = stdin {
        command.stdin(stdin);
    } else {
        command.stdin(null()?);
    }
    if !spec.outside {
        give_up_rights(spec).attempt("become the user of the command")?;
    }
    // As that user: it must be allowed to be there.
    std::env::set_current_dir(dir).attempt(&format!("enter {}", spec.working_dir))?;
    // A belt to the supervisor's braces. Changing the user would have forgotten it.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).attempt("die with the builder")?;
    Ok(command)
}

fn command_of(spec: &Spec) -> Command {
    let mut command = Command::new(spec.words.first().map_or("", String::as_str));
    command.args(spec.words.iter().skip(1)).env_clear().envs(spec.environment.iter().map(|(k, v)| (k, v)));
    command
}

fn go_in(root: &Path) -> Result<(), Failure> {
    enter(root).attempt("enter the root of the command")?;
    mask().attempt("hide what the host keeps for itself")
}

/// Runs one command in a root that is mounted. The arguments are the file of the [`Spec`], and a line for the shell.
pub fn enter_root() -> u8 {
    let entered = || -> Result<Failure, Failure> {
        let words: Vec<String> = std::env::args_os().skip(3).map(|w| w.into_string().unwrap_or_default()).collect();
        let [file, line] = words.as_slice() else { return Err(Failure::new("read what to run", Errno::INVAL)) };
        let text = fs::read(file).attempt("read what to run")?;
        let spec: Spec = serde_json::from_slice(&text).map_err(io::Error::other).attempt("read what to run")?;
        let spec = Spec { words: vec!["/bin/sh".into(), "-c".into(), line.clone()], ..spec };
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
        // What is hidden is hidden from this command; the root stays as it is for the next one.
        unshare(UnshareFlags::NEWNS).attempt("make namespaces for the command")?;
        let propagation = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
        mount_change("/", propagation).attempt("keep mounts to ourselves")?;
        go_in(&spec.folder.join(&spec.root.at))?;
        give_up_rights(&spec).attempt("become the user of the command")?;
        Ok(Failure::new("start /bin/sh", command_of(&spec).exec()))
    };
    let failure = entered().unwrap_or_else(|failure| failure);
    let _ = writeln!(io::stderr(), "{failure}");
    NOT_STARTED
}

fn told_mount(entry: &Mount) -> String {
    match entry {
        Mount::Proc => "mount /proc".to_owned(),
        Mount::Sys => "mount /sys".to_owned(),
        Mount::Dev => "mount /dev".to_owned(),
        Mount::Bind { at, .. } | Mount::Image { at, .. } | Mount::Tmpfs { at, .. } | Mount::Secret { at, .. } => {
            format!("mount /{at}")
        }
        Mount::Script { name, .. } => format!("write /dev/{name}"),
    }
}

fn mount_root(root: &Root) -> io::Result<()> {
    if root.lowers.is_empty() {
        // The folder itself, as a mount: only a mount can become the root.
        return Ok(mount_bind(&*root.at, &*root.at)?);
    }
    let options = |extra: &str| {
        let lowers = root.lowers.join(":");
        let upper = root.upper.as_ref().map(|u| format!(",upperdir={},workdir={}", u.changes, u.work));
        std::ffi::CString::new(format!("lowerdir={lowers}{}{extra}", upper.unwrap_or_default()))
    };
    // Changes must be whole in their folder: nothing in it may refer to the layers below.
    let mut last = None;
    let here = [",redirect_dir=off,metacopy=off,index=off", ",userxattr", ""];
    // Only with that option can it note anything in a user namespace.
    let in_namespace = [",userxattr,index=off", ",userxattr", ""];
    for extra in if namespace::numbering().is_some() { in_namespace } else { here } {
        match mount("overlay", &*root.at, "overlay", MountFlags::empty(), Some(options(extra)?.as_c_str())) {
            Ok(()) => return Ok(()),
            Err(error) => last = last.or(Some(error)),
        }
    }
    Err(last.map_or_else(|| io::ErrorKind::Other.into(), Into::into))
}

fn mount_one(root: &Path, entry: &Mount, spec: &Spec) -> io::Result<()> {
    let hidden = MountFlags::NOSUID | MountFlags::NOEXEC | MountFlags::NODEV;
    match entry {
        Mount::Proc => mount_proc(&root.join("proc"), hidden),
        Mount::Sys => mount_sys(&root.join("sys"), hidden),
        Mount::Dev => mount_dev(&root.join("dev")),
        Mount::Bind { source, at, writable } => bind(source, &root.join(at), *writable),
        Mount::Tmpfs { at, size } => {
            let size = size.map(|s| format!(",size={s}")).unwrap_or_default();
            mount_tmpfs(&root.join(at), &format!("mode=1777{size}"), MountFlags::NOSUID | MountFlags::NODEV)
        }
        Mount::Image { root: other, path, at, writable } => {
            match (other.lowers.as_slice(), &other.upper) {
                // A single layer is no overlay.
                ([only], None) => mount_bind(&**only, &*other.at)?,
                ([], _) => {}
                _ => mount_root(other)?,
            }
            bind(&spec.folder.join(&other.at).join(path), &root.join(at), *writable)
        }
        Mount::Secret { folder, content, mode, uid, gid, at } => {
            let folder = spec.folder.join(folder);
            mount_tmpfs(&folder, "mode=700", hidden)?;
            let path = folder.join("secret");
            fs::write(&path, content)?;
            std::os::unix::fs::chown(&path, Some(*uid), Some(*gid))?;
            fs::set_permissions(&path, fs::Permissions::from_mode(*mode))?;
            bind(&path, &root.join(at), false)
        }
        Mount::Script { name, content } => {
            let path = root.join("dev").join(name);
            fs::create_dir_all(path.parent().unwrap_or(root))?;
            fs::write(&path, content)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755))
        }
    }
}

fn bind(source: &Path, target: &Path, writable: bool) -> io::Result<()> {
    mount_bind_recursive(source, target)?;
    if !writable {
        remount_read_only(target)?;
    }
    Ok(())
}

fn remount_read_only(target: &Path) -> io::Result<()> {
    use rustix::fs::StatVfsMountFlags as Has;
    // In a user namespace, flags that the mount has must be named again. Its times do not matter.
    let has = rustix::fs::statvfs(target)?.f_flag;
    let mut flags = MountFlags::BIND | MountFlags::RDONLY;
    for (there, named) in [
        (Has::NOSUID, MountFlags::NOSUID),
        (Has::NODEV, MountFlags::NODEV),
        (Has::NOEXEC, MountFlags::NOEXEC),
        (Has::NOATIME, MountFlags::NOATIME),
        (Has::NODIRATIME, MountFlags::NODIRATIME),
        (Has::RELATIME, MountFlags::RELATIME),
    ] {
        flags.set(named, has.contains(there));
    }
    // Flags that were set must stay set.
    flags |= MountFlags::BIND | MountFlags::RDONLY;
    Ok(mount_remount(target, flags, c"")?)
}

fn mount_tmpfs(target: &Path, options: &str, flags: MountFlags) -> io::Result<()> {
    let options = std::ffi::CString::new(options)?;
    Ok(mount("tmpfs", target, "tmpfs", flags, Some(options.as_c_str()))?)
}

fn mount_proc(target: &Path, flags: MountFlags) -> io::Result<()> {
    let made = mount("proc", target, "proc", flags, None);
    if made == Err(Errno::PERM) {
        // Where an outer container masks a part of it, it cannot be mounted anew.
        return Ok(mount_bind_recursive("/proc", target)?);
    }
    Ok(made?)
}

fn mount_sys(target: &Path, flags: MountFlags) -> io::Result<()> {
    if mount("sysfs", target, "sysfs", flags | MountFlags::RDONLY, None).is_ok() {
        return Ok(());
    }
    // Without a network namespace of our own it cannot be mounted anew.
    mount_bind_recursive("/sys", target)?;
    let _ = remount_read_only(target);
    Ok(())
}

fn mount_dev(dev: &Path) -> io::Result<()> {
    mount_tmpfs(dev, "mode=755,size=65536k", MountFlags::NOSUID | MountFlags::STRICTATIME)?;
    for name in ["null", "zero", "full", "random", "urandom", "tty"] {
        let target = dev.join(name);
        File::create(&target)?;
        mount_bind(Path::new("/dev").join(name), &target)?;
    }
    for (name, mode) in [("pts", 0o755), ("shm", 0o1777), ("mqueue", 0o1777)] {
        fs::DirBuilder::new().mode(mode).create(dev.join(name))?;
    }
    let flags = MountFlags::NOSUID | MountFlags::NOEXEC;
    let terminals = [c"newinstance,ptmxmode=0666,mode=0620,gid=5", c"newinstance,ptmxmode=0666,mode=0620"];
    if !terminals.iter().any(|options| mount("devpts", dev.join("pts"), "devpts", flags, Some(*options)).is_ok()) {
        return Err(io::Error::other("terminals cannot be mounted"));
    }
    mount_tmpfs(&dev.join("shm"), "mode=1777,size=65536k", flags | MountFlags::NODEV)?;
    let _ = mount("mqueue", dev.join("mqueue"), "mqueue", flags | MountFlags::NODEV, None);
    for (target, name) in [
        ("pts/ptmx", "ptmx"),
        ("/proc/self/fd", "fd"),
        ("/proc/self/fd/0", "stdin"),
        ("/proc/self/fd/1", "stdout"),
        ("/proc/self/fd/2", "stderr"),
        ("/proc/kcore", "core"),
    ] {
        symlink(target, dev.join(name))?;
    }
    Ok(())
}

/// Makes a mount the root, and everything else unreachable.
fn enter(root: &Path) -> io::Result<()> {
    std::env::set_current_dir(root)?;
    rustix::process::pivot_root(".", ".")?;
    // The old root now lies over the new one.
    unmount(".", UnmountFlags::DETACH)?;
    std::env::set_current_dir("/")
}

/// Hides what tells of the host, or would change it. Source: Docker's masked and read-only paths.
fn mask() -> io::Result<()> {
    let masked = [
        "/proc/acpi",
        "/proc/asound",
        "/proc/interrupts",
        "/proc/kcore",
        "/proc/keys",
        "/proc/latency_stats",
        "/proc/timer_list",
        "/proc/timer_stats",
        "/proc/sched_debug",
        "/proc/scsi",
        "/sys/firmware",
        "/sys/devices/virtual/powercap",
    ];
    for path in masked.map(Path::new) {
        if path.is_dir() {
            mount_tmpfs(path, "size=0", MountFlags::RDONLY)?;
        } else if path.exists() {
            mount_bind("/dev/null", path)?;
        }
    }
    for path in ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"].map(Path::new) {
        if path.exists() {
            mount_bind_recursive(path, path)?;
            let _ = remount_read_only_proc(path);
        }
    }
    Ok(())
}

fn remount_read_only_proc(path: &Path) -> io::Result<()> {
    let kept = MountFlags::NOSUID | MountFlags::NOEXEC | MountFlags::NODEV;
    Ok(mount_remount(path, MountFlags::BIND | MountFlags::RDONLY | kept, c"")?)
}

/// Brings up the loopback of a new network namespace, as runc does. It is the first interface.
fn bring_up_loopback() -> io::Result<()> {
    use rustix::net::{AddressFamily, SendFlags, SocketType, send, socket};
    // No protocol means that of routes.
    let socket = socket(AddressFamily::NETLINK, SocketType::RAW, None)?;
    let mut message = Vec::with_capacity(32);
    // The header: length, RTM_NEWLINK, NLM_F_REQUEST, sequence number, sender.
    message.extend(32_u32.to_ne_bytes());
    message.extend(16_u16.to_ne_bytes());
    message.extend(1_u16.to_ne_bytes());
    message.extend([0; 8]);
    // The interface: family and type, index, flags, which flags change. IFF_UP is 1.
    message.extend([0; 4]);
    for field in [1_u32, 1, 1] {
        message.extend(field.to_ne_bytes());
    }
    send(&socket, &message, SendFlags::empty())?;
    Ok(())
}

/// The rights that Docker leaves to root in a container.
fn kept_rights() -> CapabilitySet {
    CapabilitySet::CHOWN
        | CapabilitySet::DAC_OVERRIDE
        | CapabilitySet::FSETID
        | CapabilitySet::FOWNER
        | CapabilitySet::MKNOD
        | CapabilitySet::NET_RAW
        | CapabilitySet::SETGID
        | CapabilitySet::SETUID
        | CapabilitySet::SETFCAP
        | CapabilitySet::SETPCAP
        | CapabilitySet::NET_BIND_SERVICE
        | CapabilitySet::SYS_CHROOT
        | CapabilitySet::KILL
        | CapabilitySet::AUDIT_WRITE
}

/// Takes on user and groups. Setuid programs work: what they can gain is bounded, not forbidden.
fn give_up_rights(spec: &Spec) -> io::Result<()> {
    for number in 0..64 {
        let right = CapabilitySet::from_bits_retain(1 << number);
        if !kept_rights().contains(right) {
            match rustix::thread::remove_capability_from_bounding_set(right) {
                Ok(()) | Err(Errno::INVAL) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    let group = |id: u32| rustix::thread::Gid::from_raw(id);
    let groups: Vec<_> = spec.groups.iter().map(|id| group(*id)).collect();
    match rustix::thread::set_thread_groups(&groups) {
        // Where only one user is mapped, groups cannot be set.
        Ok(()) | Err(Errno::PERM) => {}
        Err(error) => return Err(error.into()),
    }
    rustix::thread::set_thread_res_gid(group(spec.gid), group(spec.gid), group(spec.gid))?;
    let user = rustix::thread::Uid::from_raw(spec.uid);
    Ok(rustix::thread::set_thread_res_uid(user, user, user)?)
}
