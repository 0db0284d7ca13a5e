//! What each instruction does to an image configuration.
//!
//! Source: BuildKit's Dockerfile front end; for removals, werf's `imageSpec`.

use std::borrow::Cow;

use regex::Regex;
use serde_json::Value;

use super::files::clean;
use crate::ports::BuildError;
use crate::ports::oci::{EPOCH, HealthConfig, History, ImageConfig, Manifest, RootFs};
use crate::stage::{Base, ConfigChange, ImageRef, Platform, Step, resolve_base_env};

/// The search path of images that bring none.
const DEFAULT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Fields of Docker's configurations that tell how an image was built, not what it is.
const BUILD_FIELDS: [&str; 7] =
    ["container", "container_config", "docker_version", "id", "parent", "throwaway", "moby.buildkit.cache.v0"];

/// Returns the configuration of an image without files.
pub fn scratch(platform: &Platform) -> ImageConfig {
    let mut config = ImageConfig {
        created: Some(EPOCH.into()),
        architecture: platform.architecture.clone(),
        os: platform.os.clone(),
        variant: platform.variant.clone(),
        ..ImageConfig::default()
    };
    config.config.env = vec![DEFAULT_PATH.into()];
    config.config.working_dir = "/".into();
    config
}

/// Returns the configuration with which a build over a base starts.
pub fn over_base(mut config: ImageConfig, manifest: &Manifest) -> ImageConfig {
    config.created = Some(EPOCH.into());
    for field in BUILD_FIELDS {
        config.other.shift_remove(field);
    }
    // Some tools leave the history out; the lines of layers must be as many as the layers.
    let told = config.history.iter().filter(|h| !h.empty_layer).count();
    for _ in told..manifest.layers.len() {
        config.history.push(history("base layer", false));
    }
    config
}

/// Forgets the triggers of a base: the request has what is to be carried out of them. A stage of the same image goes on.
pub fn leave_triggers(config: &mut ImageConfig, base: &Base) {
    if !matches!(base, Base::Image(ImageRef::Stage { .. })) {
        config.config.on_build.clear();
    }
}

/// Returns a line of the history.
pub fn history(created_by: &str, empty_layer: bool) -> History {
    History { created: Some(EPOCH.into()), created_by: Some(created_by.to_owned()), empty_layer, ..History::default() }
}

/// Applies one change. `command_set` says whether this part gave a command already.
pub fn apply(image: &mut ImageConfig, change: &ConfigChange, command_set: &mut bool) -> Result<(), BuildError> {
    let config = &mut image.config;
    match change {
        ConfigChange::Env(name, value) => {
            let line = format!("{name}={value}");
            match config.env.iter_mut().find(|e| env_name(e) == name) {
                Some(old) => *old = line,
                None => config.env.push(line),
            }
        }
        ConfigChange::Label(name, value) => {
            config.labels.insert(name.clone(), value.clone());
        }
        ConfigChange::Workdir(path) => config.working_dir = working_dir(&config.working_dir, path),
        ConfigChange::User(user) => config.user.clone_from(user),
        ConfigChange::Expose(port) => {
            for port in port.split_whitespace() {
                config.exposed_ports.extend(ports(port)?);
            }
        }
        ConfigChange::Volume(path) => {
            config.volumes.insert(path.clone());
        }
        ConfigChange::Cmd(words) => {
            config.cmd = Some(words.clone());
            config.args_escaped = true;
            *command_set = true;
        }
        ConfigChange::Entrypoint(words) => {
            config.entrypoint = Some(words.clone());
            if !*command_set {
                config.cmd = None;
            }
        }
        ConfigChange::Healthcheck(check) => {
            config.healthcheck = check.as_ref().map(|check| HealthConfig {
                test: check.test.clone(),
                interval: check.interval,
                timeout: check.timeout,
                start_period: check.start_period,
                start_interval: check.start_interval,
                retries: check.retries,
            });
        }
        ConfigChange::StopSignal(signal) => config.stop_signal.clone_from(signal),
        ConfigChange::Shell(words) => config.shell = Some(words.clone()),
        ConfigChange::OnBuild(trigger) => config.on_build.push(trigger.clone()),
        ConfigChange::ClearOnBuild => config.on_build.clear(),
        ConfigChange::KeepCmd => *command_set = true,
        ConfigChange::Author(author) => image.author = Some(author.clone()),
        ConfigChange::RemoveEnv(pattern) => {
            let matches = name_matcher(pattern)?;
            config.env.retain(|e| !matches(env_name(e)));
        }
        ConfigChange::RemoveLabel(pattern) => {
            let matches = name_matcher(pattern)?;
            config.labels.retain(|name, _| !matches(name));
        }
        ConfigChange::RemoveVolume(path) => {
            config.volumes.remove(path);
        }
        ConfigChange::ReplaceExpose(list) => {
            config.exposed_ports.clear();
            for port in list {
                config.exposed_ports.extend(ports(port)?);
            }
        }
        ConfigChange::ClearCmd => config.cmd = None,
        ConfigChange::ClearEntrypoint => config.entrypoint = None,
        ConfigChange::ClearUser => config.user.clear(),
        ConfigChange::ClearWorkdir => config.working_dir.clear(),
        ConfigChange::ClearHistory => image.history.clear(),
    }
    Ok(())
}

/// Makes the configuration name its layers; a history that does not fit them is forgotten.
pub fn set_layers(config: &mut ImageConfig, rootfs: RootFs) {
    if config.history.iter().filter(|h| !h.empty_layer).count() != rootfs.diff_ids.len() {
        config.history.clear();
    }
    config.rootfs = rootfs;
}

/// Puts the variables of the base into the texts of a step that stand for them, see [`base_env`].
///
/// [`base_env`]: crate::stage::base_env
pub fn with_base_env<'a>(step: &'a Step, env: &[String]) -> Cow<'a, Step> {
    // Any text of a step may stand for some, so the step is walked as data.
    let mut data = serde_json::to_value(step).expect("a step has string keys only");
    if !resolve_texts(&mut data, env) {
        return Cow::Borrowed(step);
    }
    Cow::Owned(serde_json::from_value(data).expect("texts were replaced by texts"))
}

/// Says whether there was something to resolve.
fn resolve_texts(data: &mut Value, env: &[String]) -> bool {
    let mut changed = false;
    match data {
        Value::String(text) => {
            let lookup = |name: &str| env.iter().filter_map(|e| e.split_once('=')).find(|(n, _)| *n == name);
            let resolved = resolve_base_env(text, &|name| lookup(name).map(|(_, value)| value.to_owned()));
            changed = resolved != *text;
            *text = resolved;
        }
        Value::Array(list) => list.iter_mut().for_each(|item| changed |= resolve_texts(item, env)),
        Value::Object(map) => map.values_mut().for_each(|item| changed |= resolve_texts(item, env)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
    changed
}

/// Joins a working directory to the one before.
pub fn working_dir(before: &str, path: &str) -> String {
    let joined = if path.starts_with('/') { clean(path) } else { clean(&format!("{before}/{path}")) };
    format!("/{joined}")
}

fn env_name(line: &str) -> &str {
    line.split_once('=').map_or(line, |(name, _)| name)
}

/// Returns the ports of `80`, `80/udp`, `8000-8010/tcp` or `IP:HOST:80`.
fn ports(text: &str) -> Result<Vec<String>, BuildError> {
    let invalid = || BuildError::Step { step: format!("EXPOSE {text}"), why: format!("`{text}` is not a port") };
    let (range, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let range = range.rsplit(':').next().unwrap_or(range);
    let protocol = protocol.to_ascii_lowercase();
    if !["tcp", "udp", "sctp"].contains(&protocol.as_str()) {
        return Err(invalid());
    }
    let number = |text: &str| text.parse::<u16>().map_err(|_| invalid());
    let (first, last) = match range.split_once('-') {
        Some((first, last)) => (number(first)?, number(last)?),
        None => (number(range)?, number(range)?),
    };
    if first > last {
        return Err(invalid());
    }
    Ok((first..=last).map(|port| format!("{port}/{protocol}")).collect())
}

/// Compiles an exact name or a `/regex/`.
fn name_matcher(pattern: &str) -> Result<impl Fn(&str) -> bool + use<>, BuildError> {
    let inner = pattern.strip_prefix('/').and_then(|p| p.strip_suffix('/'));
    let regex = inner.map(Regex::new).transpose().map_err(|e| BuildError::Step {
        step: format!("remove {pattern}"),
        why: format!("`{pattern}` is not a regular expression: {e}"),
    })?;
    let exact = pattern.to_owned();
    Ok(move |name: &str| regex.as_ref().map_or(name == exact, |r| r.is_match(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(changes: &[ConfigChange]) -> ImageConfig {
        let mut image = scratch(&Platform::linux_amd64());
        image.config.cmd = Some(vec!["base".into()]);
        let mut command_set = false;
        for change in changes {
            apply(&mut image, change, &mut command_set).unwrap();
        }
        image
    }

    #[test]
    fn an_entry_point_resets_the_command_of_the_base_only() {
        let words = |t: &str| vec![t.to_owned()];
        assert_eq!(after(&[ConfigChange::Entrypoint(words("e"))]).config.cmd, None);
        let both = after(&[ConfigChange::Cmd(words("c")), ConfigChange::Entrypoint(words("e"))]);
        assert_eq!((both.config.cmd, both.config.entrypoint), (Some(words("c")), Some(words("e"))));
    }

    #[test]
    fn variables_keep_their_place() {
        let env = |n: &str, v: &str| ConfigChange::Env(n.into(), v.into());
        let image = after(&[env("A", "1"), env("B", "2"), env("A", "3"), ConfigChange::RemoveEnv("/^P/".into())]);
        assert_eq!(image.config.env, ["A=3", "B=2"]);
    }

    #[test]
    fn working_directories_are_joined() {
        let dir = |p: &str| ConfigChange::Workdir(p.into());
        assert_eq!(after(&[dir("a"), dir("b/../c")]).config.working_dir, "/a/c");
        assert_eq!(after(&[dir("/a"), dir("/x/"), dir("..")]).config.working_dir, "/");
    }

    #[test]
    fn variables_of_the_base_are_put_where_they_are_named() {
        let marked = |name: &str| crate::stage::base_env(name);
        let step = Step::Config(ConfigChange::Env("PATH".into(), format!("/x:{}{}", marked("PATH"), marked("NO"))));
        let env = ["A=1".to_owned(), "PATH=/bin=y".to_owned()];
        let expected = Step::Config(ConfigChange::Env("PATH".into(), "/x:/bin=y".into()));
        assert_eq!(*with_base_env(&step, &env), expected);
        assert!(matches!(with_base_env(&expected, &env), Cow::Borrowed(_)));
    }

    #[test]
    fn ports_have_protocols_and_ranges() {
        let image = after(&[ConfigChange::Expose("80".into()), ConfigChange::Expose("7000-7001/UDP".into())]);
        assert_eq!(image.config.exposed_ports.iter().collect::<Vec<_>>(), ["7000/udp", "7001/udp", "80/tcp"]);
        assert!(ports("http").is_err());
        assert!(ports("80/http").is_err());
        assert!(ports("9-8").is_err());
    }
}
