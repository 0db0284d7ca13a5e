//! Tasks of Ansible: the host's `ansible-playbook` works on the root of an image.
//!
//! The one idea: Ansible runs outside of the root, in its namespaces, and reaches it by a connection of our own, which
//! enters the root for each command as RUN does. So the image needs no Ansible; modules need a Python in it, as on
//! any host, and `raw` needs a shell.

#![expect(clippy::disallowed_methods, reason = "this is where the disk is written")]

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::Build;
use super::run::{Runner, attempt};
use super::sandbox::spec::Spec;
use crate::ports::BuildError;
use crate::stage::RunStep;

const PROGRAM: &str = "ansible-playbook";
/// The connection of Ansible to a root.
const CONNECTION: &str = include_str!("connection.py");

impl Build<'_> {
    /// Returns what runs tasks outside of the root in which `inside` would run commands.
    pub(super) fn tasks(&self, runner: &Runner, inside: &Spec, steps: &[&RunStep]) -> Result<Spec, BuildError> {
        let refuse = |why: String| {
            let step = steps.first().map(|s| s.created_by.clone()).unwrap_or_default();
            BuildError::Step { step, why }
        };
        let path = runner.host.environment.get("PATH").cloned().unwrap_or_default();
        let program = find(&path).ok_or_else(|| {
            refuse(format!("tasks of Ansible need the program `{PROGRAM}` here: install `ansible-core`"))
        })?;
        let tasks: Result<Vec<Value>, _> =
            steps.iter().flat_map(|s| &s.command).map(|t| serde_json::from_str(t)).collect();
        let tasks = tasks.map_err(|e| refuse(e.to_string()))?;
        // Source: werf, which gathers no facts either.
        let play = json!([{ "hosts": "all", "gather_facts": false, "tasks": tasks }]);
        let roots = self.roots()?;
        let failed = || attempt("write the files of Ansible");
        let folder = roots.scratch.make(&roots.next("ansible")).map_err(failed())?;
        let entered = Spec { mounts: Vec::new(), ..inside.clone() };
        let spec = serde_json::to_string(&entered).map_err(|e| refuse(e.to_string()))?;
        for (name, text) in [
            ("playbook.yml", play.to_string().as_str()),
            ("stagewright.py", CONNECTION),
            ("ansible.cfg", ""),
            ("enter.json", &spec),
        ] {
            // What the tasks are entered with may hold secrets of the environment.
            let mut options = fs::OpenOptions::new();
            let file = options.write(true).create(true).truncate(true).mode(0o600).open(folder.join(name));
            file.and_then(|mut file| file.write_all(text.as_bytes())).map_err(failed())?;
        }
        let at = |name: &str| folder.join(name).display().to_string();
        let environment = [
            ("PATH", path),
            ("HOME", at("")),
            ("LC_ALL", "C.UTF-8".to_owned()),
            ("PYTHONDONTWRITEBYTECODE", "1".to_owned()),
            ("ANSIBLE_CONFIG", at("ansible.cfg")),
            ("ANSIBLE_HOME", at("home")),
            ("ANSIBLE_LOCAL_TEMP", at("tmp")),
            ("ANSIBLE_CONNECTION_PLUGINS", at("")),
            ("ANSIBLE_TRANSPORT", "stagewright".to_owned()),
            // In memory: nothing of it reaches the image.
            ("ANSIBLE_REMOTE_TEMP", "/dev/ansible".to_owned()),
            ("ANSIBLE_PIPELINING", "1".to_owned()),
            ("ANSIBLE_PYTHON_INTERPRETER", "auto_silent".to_owned()),
            ("ANSIBLE_RETRY_FILES_ENABLED", "0".to_owned()),
            ("ANSIBLE_NOCOLOR", "1".to_owned()),
            ("STAGEWRIGHT_PROGRAM", runner.program.display().to_string()),
            ("STAGEWRIGHT_ENTER", at("enter.json")),
        ];
        Ok(Spec {
            words: vec![program.display().to_string(), "-i".into(), "image,".into(), "playbook.yml".into()],
            environment: environment.map(|(name, value)| (name.to_owned(), value)).into(),
            working_dir: at(""),
            outside: true,
            ..inside.clone()
        })
    }
}

fn find(path: &str) -> Option<PathBuf> {
    path.split(':').filter(|d| !d.is_empty()).map(|d| Path::new(d).join(PROGRAM)).find(|p| p.is_file())
}
