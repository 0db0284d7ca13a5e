//! Commands that the user talks to, with both builders: `run`, and the shell that `--introspect-error` opens.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use super::builds::{Built, cannot_run};
use super::services::Docker;

/// The builders that are there, with the address of the engine.
fn builders() -> Vec<(&'static str, Option<String>)> {
    let native = cannot_run().is_none().then_some(("native", None));
    let docker = Docker::shared().map(|docker| ("docker", Some(docker.host())));
    native.into_iter().chain(docker).collect()
}

fn command(built: &Built, (builder, host): &(&str, Option<String>), args: &[&str]) -> Command {
    let (own, rest) = args.split_at(args.iter().position(|a| *a == "--").unwrap_or(args.len()));
    // The store is named behind all arguments, which must not be those of the command.
    let mut command = Command::new(env!("CARGO_BIN_EXE_stagewright"));
    command.args(own).args(["--builder", builder, "--repo", &format!("oci:{}", built.path("store").display())]);
    command.args(rest).current_dir(built.path("project")).env_clear().env("HOME", built.path("home"));
    command.env("PATH", "/usr/bin:/bin").env("TERM", "xterm").env("NO_COLOR", "1").stdin(Stdio::null());
    command.envs(host.iter().map(|host| ("DOCKER_HOST", host)));
    command
}

/// A program on a terminal of its own.
struct OnTerminal {
    child: Child,
    ours: OwnedFd,
    shown: String,
}

impl OnTerminal {
    fn start(mut command: Command) -> Self {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&ours).unwrap();
        unlockpt(&ours).unwrap();
        let path = ptsname(&ours, Vec::new()).unwrap().into_string().unwrap();
        // `setsid -c` makes the terminal that of its session.
        let mut inner = Command::new("setsid");
        inner.args(["-c", "-w"]).arg(command.get_program()).args(command.get_args());
        inner.env_clear().envs(command.get_envs().filter_map(|(k, v)| Some((k, v?))));
        inner.current_dir(command.get_current_dir().unwrap());
        let open = || File::options().read(true).write(true).open(&path).unwrap();
        inner.stdin(open()).stdout(open()).stderr(open()).process_group(0);
        command = inner;
        let child = command.spawn().unwrap();
        Self { child, ours, shown: String::new() }
    }

    /// Waits until something is shown.
    fn see(&mut self, wanted: &str) {
        let start = Instant::now();
        while !self.shown.contains(wanted) {
            assert!(start.elapsed() < Duration::from_mins(1), "`{wanted}` is not shown: {}", self.shown);
            let mut ends = [PollFd::new(&self.ours, PollFlags::IN)];
            if poll(&mut ends, Some(&Timespec { tv_sec: 1, tv_nsec: 0 })).unwrap() == 0 {
                continue;
            }
            let mut piece = [0; 4096];
            if let Ok(count @ 1..) = rustix::io::read(self.ours.as_fd(), &mut piece) {
                self.shown += &String::from_utf8_lossy(&piece[..count]);
            } else {
                let status = self.child.wait().unwrap();
                panic!("it ended with {status}, `{wanted}` is not shown: {}", self.shown);
            }
        }
        self.shown.clear();
    }

    fn say(&self, text: &str) {
        rustix::io::write(&self.ours, text.as_bytes()).unwrap();
    }

    fn end(mut self) -> i32 {
        let mut rest = File::from(self.ours);
        let reader = std::thread::spawn(move || {
            let mut text = Vec::new();
            let _ = rest.read_to_end(&mut text);
        });
        let status = self.child.wait().unwrap();
        let _ = reader.join();
        status.code().unwrap()
    }
}

/// What unpacked layers and runs leave in the home of a project.
fn leftovers(built: &Built) -> Vec<String> {
    let found = Command::new("find").arg(built.path("home")).args(["-path", "*/runs/*"]).output().unwrap();
    String::from_utf8(found.stdout).unwrap().lines().map(str::to_owned).collect()
}

const IMAGE: &str = "FROM busybox:test\nENV A=image\nWORKDIR /srv\nRUN echo in > file\nUSER app\n\
                     ENTRYPOINT [\"/bin/sh\", \"-c\"]\nCMD [\"id -un; pwd; cat file; echo $A; exit 3\"]\n";

#[test]
fn an_image_is_built_and_run_as_its_configuration_says() {
    for builder in builders() {
        let built = Built::dockerfile(IMAGE);
        let run = |args: &[&str]| {
            let ran = command(&built, &builder, args).output().unwrap();
            let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
            (ran.status.code().unwrap(), text(ran.stdout), text(ran.stderr))
        };
        let (code, out, err) = run(&["run"]);
        assert_eq!((code, out.as_str()), (3, "app\n/srv\nin\nimage\n"), "{}: {err}", builder.0);
        assert!(err.contains("built app/dockerfile"), "{err}");
        let (code, out, err) = run(&["run", "app", "--", "echo $A"]);
        assert_eq!((code, out.as_str()), (0, "image\n"), "{}: {err}", builder.0);
        assert!(!err.contains("built"), "{err}");
        let options = "-e A=mine -w / -u root --entrypoint /bin/sh -v .:/here:ro";
        let script = "id -un; pwd; echo $A; ls /here; touch /new && touch /here/x 2>/dev/null || echo no; sh -c 'kill -9 $$'; exit $?";
        let (code, out, err) = run(&["run", "app", "--docker-options", options, "--", "-c", script]);
        let wanted = "root\n/\nmine\nDockerfile\nwerf.yaml\nno\n";
        assert_eq!((code, out.as_str()), (137, wanted), "{}: {err}", builder.0);
        let (code, out, _) = run(&["run", "app", "--", "test -e /new || echo gone"]);
        assert_eq!((code, out.as_str()), (0, "gone\n"), "{}", builder.0);
        let (code, _, err) = run(&["build", "--save-build-report"]);
        assert_eq!(code, 0, "{err}");
        let (code, out, err) = run(&["run", "--use-build-report", "--dir", "/", "--", "echo $A"]);
        assert_eq!((code, out.as_str()), (0, "image\n"), "{}: {err}", builder.0);
        let (code, _, err) = run(&["run", "other"]);
        assert!(code != 0 && err.contains("other"), "{err}");
        assert_eq!(leftovers(&built), Vec::<String>::new());

        let mut piped = command(&built, &builder, &["run", "app", "--", "wc -c; echo err >&2"]);
        let mut child = piped.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(&vec![b'x'; 300_000]).unwrap();
        let ran = child.wait_with_output().unwrap();
        let (out, err) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
        assert_eq!((out.trim(), err.ends_with("err\n")), ("300000", true), "{}: {err}", builder.0);
    }
}

#[test]
fn a_signal_reaches_the_command() {
    for builder in builders() {
        let built = Built::dockerfile("FROM busybox:test\n");
        let script = "trap 'echo bye; exit 7' TERM INT; echo up; while :; do sleep 0.1; done";
        let mut command = command(&built, &builder, &["run", "app", "--", "/bin/sh", "-c", script]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut out = child.stdout.take().unwrap();
        let mut seen = [0; 3];
        out.read_exact(&mut seen).unwrap();
        assert_eq!(&seen, b"up\n");
        rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::INT).unwrap();
        let mut rest = String::new();
        out.read_to_string(&mut rest).unwrap();
        assert_eq!((child.wait().unwrap().code(), rest.as_str()), (Some(7), "bye\n"), "{}", builder.0);
        assert_eq!(leftovers(&built), Vec::<String>::new());
    }
}

#[test]
fn a_shell_on_a_terminal_has_it_for_itself() {
    for builder in builders() {
        let built = Built::dockerfile("FROM busybox:test\n");
        let mut shell = OnTerminal::start(command(&built, &builder, &["run", "app", "--shell"]));
        shell.see("# ");
        shell.say("test -t 0 && test -t 1 && echo ter''minal\n");
        shell.see("terminal");
        // ^C ends what runs in the shell, and nothing else.
        shell.say("echo wait''ing; sleep 600\n");
        shell.see("waiting");
        std::thread::sleep(Duration::from_millis(300));
        shell.say("\u{3}");
        shell.say("echo still the''re\n");
        shell.see("still there");
        shell.say("exit 5\n");
        assert_eq!(shell.end(), 5, "{}", builder.0);
        assert_eq!(leftovers(&built), Vec::<String>::new());
    }
}

#[test]
fn a_failed_command_opens_a_shell_where_it_failed() {
    for builder in builders() {
        let built = Built::dockerfile("FROM busybox:test\nRUN echo one > /one\nRUN echo half > /half; exit 9\n");
        let args = ["build", "--introspect-error"];
        let mut shell = OnTerminal::start(command(&built, &builder, &args));
        shell.see("# ");
        shell.say("cat /one /half; hostname > /tmp/x; cd /; echo in''side\n");
        shell.see("inside");
        shell.say("\u{3}");
        shell.say("exit\n");
        shell.see("--> Dockerfile:3");
        assert_eq!(shell.end(), 1, "{}", builder.0);
        assert_eq!(leftovers(&built), Vec::<String>::new());
        if let ("docker", Some(docker)) = (builder.0, Docker::shared()) {
            assert!(!docker.run(&["ps", "-a", "--format", "{{.Image}}"]).contains("stagewright-base"));
        }
        // Who is not asked for a shell is told how to get one.
        let told = command(&built, &builder, &["build"]).output().unwrap();
        let text = String::from_utf8_lossy(&told.stderr).into_owned();
        let failure = text.split("failed to build").nth(1).unwrap();
        let place = "`RUN echo half > /half; exit 9` failed with exit status 9\n  --> Dockerfile:3\n";
        assert!(
            failure.contains(place) && failure.contains("= hint: ") && failure.contains("--introspect-error"),
            "{text}"
        );
    }
}
