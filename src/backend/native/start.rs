//! Running an image: its files, its configuration and a command, with what it changes thrown away.
//!
//! The one idea: it is the run of a build step over nothing but the image, whose changes nobody reads.

#![expect(clippy::disallowed_methods, reason = "folders of the host are looked at")]

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use super::files::Draft;
use super::run::{Stubs, attempt, system_mounts};
use super::sandbox::spec::{Mount, Spec};
use super::sandbox::{self, Console, Ended};
use super::users::find_user;
use super::{Build, NativeBuilder, namespace, unsupported};
use crate::ports::{BuildContext, BuildError, ImageRun, Runner};
use crate::source::MemoryObjects;
use crate::stage::Network;

impl Runner for NativeBuilder {
    fn run_image(&self, run: &ImageRun, context: &BuildContext<'_>, signal: &AtomicUsize) -> Result<i32, BuildError> {
        let Some(runner) = &self.runner else {
            let why = self.refusal.as_deref().unwrap_or("this machine cannot");
            return Err(unsupported(&format!("an image cannot be run: {why}")));
        };
        let secrets = std::collections::BTreeMap::new();
        let build = Build {
            builder: self,
            context,
            objects: Arc::new(MemoryObjects::over(context.objects.clone())),
            platform: &run.platform,
            parts: Vec::new(),
            secrets: &secrets,
            roots: std::sync::OnceLock::new(),
        };
        let (spec, told) = build.spec_of(run)?;
        let console = if run.terminal { Console::Terminal } else { Console::Given };
        let ended =
            sandbox::attached(&runner.program, spec, console, signal).map_err(attempt(format!("run {told}")))?;
        match ended {
            Ended::Exited(status) => Ok(status),
            Ended::NotStarted(why) => Err(BuildError::Step { step: told, why }),
            Ended::Cancelled => Err(BuildError::Cancelled(told)),
        }
    }
}

impl Build<'_> {
    /// Makes everything ready; returns how the command is told too.
    fn spec_of(&self, run: &ImageRun) -> Result<(Spec, String), BuildError> {
        let image = self.stored(&run.image, self.platform)?;
        let config = &image.config.config;
        let none = Vec::new();
        let entrypoint = config.entrypoint.as_ref().unwrap_or(&none);
        let words = run.words(entrypoint, config.cmd.as_ref().unwrap_or(&none));
        let words = words.ok_or_else(|| BuildError::Step {
            step: format!("run {}", run.image),
            why: "the image has no command; name one behind --".into(),
        })?;
        let told = words.join(" ");
        let roots = self.roots()?;
        let view = self.view(&image)?;
        let mut stubs = Stubs::over(&view);
        let mut mounts = system_mounts(&mut stubs, &roots.scratch, &[])?;
        let user = run.user.as_ref().unwrap_or(&config.user);
        let user = find_user(self.context, &Draft::over(view.clone()), user, &told)?;
        if !namespace::has_user(user.uid) {
            let why = format!("user {} has no number here: only root is mapped; name another one with -u", user.uid);
            return Err(BuildError::Step { step: told, why });
        }
        for mount in &run.mounts {
            let target = mount.target.trim_matches('/');
            let at = if mount.source.is_dir() { stubs.directory(target)? } else { stubs.file(target)? };
            mounts.push(Mount::Bind { source: mount.source.clone(), at, writable: mount.writable });
        }
        let root = self.root(&image, &view, stubs)?.root;
        let mut environment = super::run::base_environment(&config.env, &user.home);
        if run.terminal {
            environment.entry("TERM".into()).or_insert_with(|| "xterm".into());
        }
        environment.extend(run.environment.clone());
        let working_dir = run.working_dir.as_ref().unwrap_or(&config.working_dir);
        let spec = Spec {
            folder: self.builder.cache_folder(),
            root,
            mounts,
            words,
            environment: environment.into_iter().collect(),
            working_dir: if working_dir.is_empty() { "/".into() } else { working_dir.clone() },
            uid: user.uid,
            gid: user.gid,
            groups: user.groups,
            network: run.network != Network::None,
            report: roots.scratch.folder().join(roots.next("report")),
            terminal: None,
            stdin: None,
            stays: true,
            outside: false,
        };
        Ok((spec, told))
    }
}
