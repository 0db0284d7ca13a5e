//! What commands of a build are given of the host, by both builders: secrets and the ssh agent.

use std::fs;
use std::process::{Child, Command, Stdio};

use stagewright::backend::OciLayout;
use stagewright::ports::StageStore;

use super::builds::{Built, cannot_run, git};
use super::services::{BUSYBOX, Docker, skip};

/// A real agent with one key.
struct Agent {
    process: Child,
    dir: tempfile::TempDir,
}

impl Agent {
    fn start() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("agent");
        let process = Command::new("ssh-agent").arg("-D").arg("-a").arg(&socket).stdout(Stdio::null()).spawn();
        let Ok(process) = process else { return skip("ssh-agent is not installed") };
        let agent = Self { process, dir };
        let key = agent.dir.path().join("key");
        let mut made = Command::new("ssh-keygen");
        made.args(["-q", "-t", "ed25519", "-N", "", "-C", "of-the-test", "-f"]).arg(&key);
        assert!(made.status().unwrap().success());
        for _ in 0..100 {
            if socket.exists() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        let added = Command::new("ssh-add").arg("-q").arg(&key).env("SSH_AUTH_SOCK", &socket).status().unwrap();
        assert!(added.success());
        Some(agent)
    }

    fn socket(&self) -> String {
        self.dir.path().join("agent").display().to_string()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Puts the host's `ssh-add` and its libraries into a folder of the project.
fn with_ssh_add(built: &Built) {
    let program = "/usr/bin/ssh-add";
    let listed = String::from_utf8(Command::new("ldd").arg(program).output().unwrap().stdout).unwrap();
    let libraries = listed.split_whitespace().filter(|word| word.starts_with('/'));
    for file in libraries.chain([program]) {
        let to = built.path("project/root").join(file.trim_start_matches('/'));
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(file, to).unwrap();
    }
    git(&built.path("project"), &["add", "-A"]);
    git(&built.path("project"), &["commit", "-qm", "two"]);
}

fn builders() -> Vec<(&'static str, Option<String>)> {
    let native = cannot_run().is_none().then_some(("native", None));
    let docker = Docker::shared().map(|docker| ("docker", Some(docker.host())));
    native.into_iter().chain(docker).collect()
}

#[test]
fn the_ssh_agent_is_there_for_the_command_that_asks() {
    let builders = builders();
    let Some(agent) = Agent::start() else { return };
    for (builder, host) in builders {
        let built = Built::dockerfile(
            "FROM busybox:test\nCOPY root /\nRUN --mount=type=ssh ssh-add -l && ssh-add -l | grep -q of-the-test\n\
             RUN test -z \"$SSH_AUTH_SOCK\"\n",
        );
        with_ssh_add(&built);
        let build = |socket: Option<String>| {
            let mut command = built.command(&["build", "--builder", builder]);
            command.envs(host.iter().map(|host| ("DOCKER_HOST", host)));
            command.envs(socket.map(|socket| ("SSH_AUTH_SOCK", socket)));
            let ran = command.output().unwrap();
            (ran.status.success(), String::from_utf8_lossy(&ran.stderr).into_owned())
        };
        let (_, told) = build(None);
        assert!(!told.contains("(ED25519)"), "{builder}: {told}");
        let (succeeded, told) = build(Some(agent.socket()));
        assert!(succeeded && told.contains("of-the-test (ED25519)"), "{builder}: {told}");
    }
}

#[test]
fn secrets_of_the_engines_builds_are_masked_and_reach_nothing() {
    let Some(docker) = Docker::shared() else { return };
    let built = Built::of("mount-secret");
    let dockerfile = "FROM busybox:test\nRUN --mount=type=secret,id=token --mount=type=secret,id=token,env=TOKEN,target=/x \
                      echo \"it is $(cat /run/secrets/token), it is $TOKEN.\" && test \"$TOKEN\" = \"$(cat /run/secrets/token)\"\n";
    fs::write(built.path("project/Dockerfile"), dockerfile).unwrap();
    git(&built.path("project"), &["commit", "-qam", "two"]);
    let ran = built.command(&["build", "--builder", "docker"]).env("DOCKER_HOST", docker.host()).output().unwrap();
    let text = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert!(ran.status.success() && text.contains("it is ***, it is ***."), "{text}");
    assert!(!text.contains("s3cr3t"), "{text}");
    let found = Command::new("grep").args(["-ra", "s3cr3t"]).arg(built.path("store")).output().unwrap();
    assert!(!found.status.success(), "{}", String::from_utf8_lossy(&found.stdout));
    // Nor what the engine knows of its images.
    let images = docker.run(&["image", "ls", "-aq"]);
    let told = docker.run(&[&["image", "inspect"][..], &images.lines().collect::<Vec<_>>()].concat());
    assert!(!told.contains("s3cr3t"), "{told}");

    let required = "FROM busybox:test\nRUN --mount=type=secret,id=other,required cat /run/secrets/other\n";
    fs::write(built.path("project/Dockerfile"), required).unwrap();
    git(&built.path("project"), &["commit", "-qam", "three"]);
    let ran = built.command(&["build", "--builder", "docker"]).env("DOCKER_HOST", docker.host()).output().unwrap();
    let text = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert!(!ran.status.success() && text.contains("the image has no secret `other`"), "{text}");
}

#[test]
fn a_build_leaves_no_image_in_the_engine() {
    let Some(docker) = Docker::own() else { return };
    let built = Built::dockerfile("FROM busybox:test AS one\nRUN echo 1 > /one\nFROM one\nRUN echo 2 > /two\n");
    let build = || built.command(&["build", "--builder", "docker"]).env("DOCKER_HOST", docker.host()).output().unwrap();
    let images = || docker.run(&["image", "ls", "-a", "--format", "{{.Repository}}:{{.Tag}}"]);
    assert!(build().status.success());
    assert_eq!(images(), BUSYBOX);
    fs::write(built.path("project/Dockerfile"), "FROM busybox:test\nRUN echo 1 > /one\nRUN exit 3\n").unwrap();
    git(&built.path("project"), &["commit", "-qam", "two"]);
    let ran = build();
    assert!(!ran.status.success());
    assert_eq!(images(), BUSYBOX, "{}", String::from_utf8_lossy(&ran.stderr));
}

#[test]
fn stages_go_into_the_engine_and_back() {
    let Some(docker) = Docker::shared() else { return };
    if cannot_run().is_some() {
        return;
    }
    let name = format!("copies-{}", std::process::id());
    let built = Built::dockerfile("FROM busybox:test\nRUN echo 1 > /one\nCMD [\"cat\", \"/one\"]\n");
    let run = |args: &[&str]| {
        let ran = built.command(args).env("DOCKER_HOST", docker.host()).output().unwrap();
        assert!(ran.status.success(), "{args:?}: {}", String::from_utf8_lossy(&ran.stderr));
        String::from_utf8_lossy(&ran.stderr).into_owned()
    };
    run(&["build", "--final-repo", &format!("docker:{name}/final")]);
    let copied = run(&["stages", "copy", "--to", &format!("docker:{name}/stages")]);
    assert!(copied.contains("Copied 1 stages and 1 images"), "{copied}");
    let again = run(&["stages", "copy", "--to", &format!("docker:{name}/stages")]);
    assert!(again.contains("Copied 0 stages and 0 images"), "{again}");
    // From a host whose cache is empty: all of it is in the engine.
    fs::remove_dir_all(built.path("home")).unwrap();
    let other = format!("oci:{}", built.path("other").display());
    run(&["stages", "copy", "--all", "--from", &format!("docker:{name}/stages"), "--to", &other]);
    let ours = |store: &dyn StageStore| {
        let mut tags = store.tags().unwrap();
        tags.retain(|tag| tag != "busybox:test" && !tag.ends_with("-1"));
        tags.sort();
        store.images(&tags).unwrap().into_iter().map(|image| image.unwrap().manifest).zip(tags).collect::<Vec<_>>()
    };
    let (before, after) = (ours(&built.store()), ours(&OciLayout::new(built.path("other"))));
    assert!(before.len() == 2 && before == after, "{before:?} {after:?}");
    let finals = docker.run(&["image", "ls", "--format", "{{.Repository}}:{{.Tag}}", &format!("{name}/final")]);
    let image = finals.lines().find(|line| !line.contains("newest")).unwrap();
    assert_eq!(docker.run(&["run", "--rm", "--network=none", image]), "1");
}
