//! Options from the environment: `STAGEWRIGHT_FLAG`, and `WERF_FLAG` where ours is not set.
//!
//! The one idea: a variable is the option it stands for, written before the options that were typed; so whatever is
//! typed wins over it, and lists (`WERF_VALUES_1`, `WERF_SET_WEB`, …, in the order of their names) come first.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;

use clap::{Arg, ArgAction, Command};

/// Our prefix is read after werf's, so that it wins.
const PREFIXES: [&str; 2] = ["WERF_", "STAGEWRIGHT_"];

/// Lists of werf that no command of ours has: they must not be taken for `--set` or `--values`.
const FOREIGN_LISTS: [&str; 4] =
    ["SET_ROOT_JSON", "SET_RUNTIME_JSON", "SET_DOCKER_CONFIG_VALUE", "SET_DOCKER_CONFIG_JSON_VALUE"];

/// Options whose variables mean something else: `WERF_REPO` is where images are stored.
const NOT_READ: [&str; 2] = ["chart_repository", "chart_version"];

/// Lists that are one choice: what is typed replaces what the environment has.
const REPLACED: [&str; 1] = ["platform"];

/// Returns the command line with the options of the environment in it.
pub fn with_environment(root: &Command, args: &[OsString], env: &BTreeMap<String, String>) -> Vec<OsString> {
    let (command, at) = find_command(root, args);
    let lists = list_names(root);
    let mut line: Vec<OsString> = args.iter().take(1).cloned().collect();
    let typed =
        |arg: &Arg| REPLACED.contains(&arg.get_id().as_str()) && !typed_values(command, args, at, arg).is_empty();
    line.extend(options(root, &lists, env, &typed));
    line.extend(args.iter().take(at).skip(1).map(|word| plain_switch(root, word)));
    if !std::ptr::eq(command, root) {
        line.extend(options(command, &lists, env, &typed));
    }
    let mut literal = false;
    for word in args.iter().skip(at.max(1)) {
        literal |= word == "--";
        line.push(if literal { word.clone() } else { plain_switch2(command, root, word) });
    }
    line.retain(|word| !word.is_empty() || args.contains(word));
    line
}

/// Options whose values are nobody's business.
const HIDDEN: [&str; 1] = ["kube_config_base64"];

/// Variables of werf that are no options of ours and need none: they are set by `werf ci-env` or by werf itself, are read
/// elsewhere here, or mean what does not exist here (cleanup, Buildah, logs, synchronization).
const NOT_MISSED: [&str; 24] = [
    "SECRET_KEY",
    "OLD_SECRET_KEY",
    "PROJECT_NAME",
    "FORCE_STAGED_DOCKERFILE",
    "DOCKER_CONFIG",
    "HOME",
    "TMP_DIR",
    "ENABLE_PROCESS_EXTERMINATOR",
    "TELEMETRY",
    "SYNCHRONIZATION",
    "VERBOSE",
    "QUIET",
    "DEBUG",
    "FINAL_IMAGES_ONLY",
    "IMAGES_CLEANUP",
    "GIT_TAG_STRATEGY_LIMIT",
    "GIT_TAG_STRATEGY_EXPIRY_DAYS",
    "GIT_COMMIT_STRATEGY_LIMIT",
    "GIT_COMMIT_STRATEGY_EXPIRY_DAYS",
    "STAGES_SIGNATURE_STRATEGY_LIMIT",
    "DISABLE_AUTO_HOST_CLEANUP",
    "DOCKER_IMAGE_NAME",
    "SCAN_CONTEXT_NAMESPACE_ONLY",
    "CHANNEL",
];

/// Beginnings of such variables.
const NOT_MISSED_FAMILIES: [&str; 14] = [
    "LOG_",
    "REPO_",
    "FINAL_REPO_",
    "DEBUG_",
    "BUILDAH_",
    "CLEANUP_",
    "KEEP_",
    "COMMIT_",
    "API_",
    "EXPERIMENT",
    "GIT_",
    "TEST_",
    "ALLOWED_",
    "BACKEND_STORAGE_",
];

/// Returns the variables of werf that are set and that nothing here reads.
pub fn unread(root: &Command, env: &BTreeMap<String, String>) -> Vec<String> {
    let (mut names, mut lists) = (BTreeSet::new(), BTreeSet::new());
    let mut todo = vec![root];
    while let Some(command) = todo.pop() {
        for arg in command.get_arguments() {
            let longs = longs(arg).map(variable);
            if matches!(arg.get_action(), ArgAction::Append) { lists.extend(longs) } else { names.extend(longs) }
        }
        todo.extend(command.get_subcommands());
    }
    let is_of = |name: &str, list: &str| suffix(name, list).is_some();
    let is_read = |name: &str| {
        let is_foreign = FOREIGN_LISTS.iter().any(|list| is_of(name, list));
        !is_foreign && (names.contains(name) || lists.iter().any(|list| is_of(name, list)))
    };
    let is_missed = |name: &str| {
        !NOT_MISSED.contains(&name)
            && !NOT_MISSED_FAMILIES.iter().any(|family| name.starts_with(family))
            && !name.ends_with("_DOCKER_IMAGE_NAME")
    };
    let set = env.range("WERF_".to_owned()..).map_while(|(key, value)| Some((key, key.strip_prefix("WERF_")?, value)));
    set.filter(|(_, name, value)| !value.is_empty() && !is_read(name) && is_missed(name))
        .map(|(key, ..)| key.clone())
        .collect()
}

/// Finds the command that is meant, and the place after its name.
fn find_command<'a>(root: &'a Command, args: &[OsString]) -> (&'a Command, usize) {
    let (mut command, mut at) = (root, 1);
    let mut i = 1;
    while let Some(word) = args.get(i).map(|w| w.to_string_lossy()) {
        i += 1;
        if word == "--" {
            break;
        }
        if word.starts_with('-') && word.len() > 1 {
            i += usize::from(takes_next(command, &word) || takes_next(root, &word));
            continue;
        }
        let Some(next) = command.find_subcommand(word.as_ref()) else { break };
        (command, at) = (next, i);
        if !command.has_subcommands() {
            break;
        }
    }
    (command, at)
}

/// Says whether an option takes the word after it.
fn takes_next(command: &Command, word: &str) -> bool {
    let matches = |arg: &&Arg| match word.strip_prefix("--") {
        Some(long) => has_long(arg, long),
        None => word.chars().nth(1) == arg.get_short() && word.chars().count() == 2,
    };
    !word.contains('=') && command.get_arguments().find(matches).is_some_and(|arg| arg.get_action().takes_values())
}

fn has_long(arg: &Arg, long: &str) -> bool {
    longs(arg).any(|name| name == long)
}

fn longs(arg: &Arg) -> impl Iterator<Item = &str> {
    arg.get_long().into_iter().chain(arg.get_all_aliases().into_iter().flatten())
}

/// Every option of a command that the environment sets, and that is not `replaced` by what was typed.
fn options(
    command: &Command,
    lists: &BTreeSet<String>,
    env: &BTreeMap<String, String>,
    replaced: &dyn Fn(&Arg) -> bool,
) -> Vec<OsString> {
    let mut words = Vec::new();
    for arg in command.get_arguments() {
        let Some(long) = arg.get_long().filter(|_| !NOT_READ.contains(&arg.get_id().as_str())) else { continue };
        let action = arg.get_action();
        if matches!(action, ArgAction::Set) {
            words.extend(scalar(arg, env).map(|(_, v)| format!("--{long}={v}").into()));
        } else if matches!(action, ArgAction::SetTrue) && scalar(arg, env).is_some_and(|(_, v)| is_true(&v)) {
            words.push(format!("--{long}").into());
        } else if matches!(action, ArgAction::Append) && !replaced(arg) {
            words.extend(list(&variable(long), lists, env).into_iter().map(|(_, v)| format!("--{long}={v}").into()));
        }
    }
    words
}

fn variable(long: &str) -> String {
    long.to_uppercase().replace('-', "_")
}

/// Name and value of the variable that counts. An empty variable is as good as none.
fn scalar(arg: &Arg, env: &BTreeMap<String, String>) -> Option<(String, String)> {
    let find = |prefix: &&str| {
        longs(arg).find_map(|long| {
            let name = format!("{prefix}{}", variable(long));
            env.get(&name).map(|value| (name, value.clone()))
        })
    };
    PREFIXES.iter().rev().find_map(find).filter(|(_, v)| !v.is_empty())
}

/// An option that is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// `--env`
    pub option: String,
    /// Its value; empty for a switch.
    pub value: String,
    /// The variable of the environment; `None` when it was typed.
    pub variable: Option<String>,
}

/// Returns the options of the command that was typed, and where each comes from: variables first, as they count.
pub fn in_force(root: &Command, args: &[OsString], env: &BTreeMap<String, String>) -> Vec<Setting> {
    let (command, at) = find_command(root, args);
    let lists = list_names(root);
    let mut found = Vec::new();
    for arg in command.get_arguments().chain(root.get_arguments()) {
        let Some(long) = arg.get_long().filter(|_| !NOT_READ.contains(&arg.get_id().as_str())) else { continue };
        let option = format!("--{long}");
        let typed = typed_values(command, args, at, arg);
        let mut push = |value: String, variable| {
            let value = if HIDDEN.contains(&arg.get_id().as_str()) { "(hidden)".to_owned() } else { value };
            found.push(Setting { option: option.clone(), value, variable });
        };
        if matches!(arg.get_action(), ArgAction::Append) {
            let replaced = REPLACED.contains(&arg.get_id().as_str()) && !typed.is_empty();
            let variables = if replaced { Vec::new() } else { list(&variable(long), &lists, env) };
            variables.into_iter().for_each(|(name, value)| push(value, Some(name)));
            typed.into_iter().for_each(|value| push(value, None));
        } else if let Some(value) = typed.into_iter().next_back() {
            push(value, None);
        } else if let Some((name, value)) = scalar(arg, env) {
            if matches!(arg.get_action(), ArgAction::Set) {
                push(value, Some(name));
            } else if matches!(arg.get_action(), ArgAction::SetTrue) && is_true(&value) {
                push(String::new(), Some(name));
            }
        }
    }
    found
}

/// The values that an option was typed with; a switch has an empty one.
fn typed_values(command: &Command, args: &[OsString], at: usize, arg: &Arg) -> Vec<String> {
    let mut values = Vec::new();
    let mut words = args.iter().enumerate().skip(1).map(|(i, word)| (i, word.to_string_lossy()));
    while let Some((i, word)) = words.next() {
        if word == "--" {
            break;
        }
        let (name, inline) = match word.split_once('=') {
            Some((name, value)) if name.starts_with("--") => (name.to_owned(), Some(value.to_owned())),
            _ => (word.to_string(), None),
        };
        let is_it = match name.strip_prefix("--") {
            Some(long) => has_long(arg, long),
            None => name.len() == 2 && name.starts_with('-') && name.chars().nth(1) == arg.get_short(),
        };
        if !is_it {
            if i >= at && takes_next(command, &word) {
                words.next();
            }
            continue;
        }
        if arg.get_action().takes_values() {
            values.extend(inline.or_else(|| words.next().map(|(_, value)| value.into_owned())));
        } else {
            values.push(String::new());
        }
    }
    values
}

fn is_true(value: &str) -> bool {
    matches!(value.to_lowercase().as_str(), "1" | "true" | "yes" | "on" | "t" | "y")
}

/// The values of a list in the order of the names behind the prefix; of two equal names ours wins.
fn list(name: &str, lists: &BTreeSet<String>, env: &BTreeMap<String, String>) -> Vec<(String, String)> {
    let mut found: BTreeMap<&str, (&String, &String)> = BTreeMap::new();
    for prefix in PREFIXES {
        for (key, value) in env.range(prefix.to_owned()..) {
            let Some(rest) = key.strip_prefix(prefix) else { break };
            if let Some(suffix) = suffix(rest, name)
                && belongs(rest, name, lists)
                && !value.is_empty()
            {
                found.insert(suffix, (key, value));
            }
        }
    }
    found.into_values().map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn suffix<'a>(variable: &'a str, name: &str) -> Option<&'a str> {
    let rest = variable.strip_prefix(name)?;
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix('_') }
}

/// `SET_STRING_1` belongs to `SET_STRING`, not to `SET`: the longest name that fits.
fn belongs(variable: &str, name: &str, lists: &BTreeSet<String>) -> bool {
    !lists.iter().any(|other| other.len() > name.len() && suffix(variable, other).is_some())
}

fn list_names(root: &Command) -> BTreeSet<String> {
    let mut names: BTreeSet<String> = FOREIGN_LISTS.iter().map(|n| (*n).to_owned()).collect();
    let mut todo = vec![root];
    while let Some(command) = todo.pop() {
        let lists = command.get_arguments().filter(|a| matches!(a.get_action(), ArgAction::Append));
        names.extend(lists.filter_map(|a| a.get_long()).map(variable));
        todo.extend(command.get_subcommands());
    }
    names
}

/// `--dev=true` is `--dev`, and `--dev=false` is nothing, as werf and Helm read them.
fn plain_switch(command: &Command, word: &OsString) -> OsString {
    let Some(text) = word.to_str().and_then(|w| w.strip_prefix("--")) else { return word.clone() };
    let Some((long, value)) = text.split_once('=') else { return word.clone() };
    let is_switch = |arg: &&Arg| matches!(arg.get_action(), ArgAction::SetTrue) && has_long(arg, long);
    if command.get_arguments().any(|a| is_switch(&a)) {
        match value.to_lowercase().as_str() {
            "false" | "0" | "f" => return OsString::new(),
            _ if is_true(value) => return format!("--{long}").into(),
            _ => {}
        }
    }
    word.clone()
}

fn plain_switch2(command: &Command, root: &Command, word: &OsString) -> OsString {
    plain_switch(root, &plain_switch(command, word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::{self, Cli, Command as Ours};

    fn parsed(line: &str, env: &[(&str, &str)]) -> Cli {
        let env = env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let words: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        let line = with_environment(args::command(), &words, &env);
        args::parse(&line).unwrap_or_else(|e| panic!("{line:?}: {e}"))
    }

    fn plan(line: &str, env: &[(&str, &str)]) -> args::PlanArgs {
        let Ours::Plan(plan) = parsed(line, env).command else { panic!("not a plan") };
        plan
    }

    #[test]
    fn ours_wins_over_werfs_and_the_command_line_over_both() {
        let env = [("WERF_ENV", "werf"), ("STAGEWRIGHT_ENV", "ours"), ("WERF_REPO", "oci:x"), ("WERF_DEV", "1")];
        let read = plan("stagewright plan", &env);
        assert_eq!((read.project.env.as_deref(), read.build.repo.as_deref()), (Some("ours"), Some("oci:x")));
        assert!(read.project.dev);
        assert_eq!(plan("stagewright plan --env typed", &env).project.env.as_deref(), Some("typed"));
        assert!(!plan("stagewright plan --dev=false", &[]).project.dev);
        assert!(!plan("stagewright plan", &[("WERF_DEV", "false"), ("WERF_ENV", "")]).project.dev);
    }

    #[test]
    fn options_of_every_command_are_read_too_and_typed_ones_win_in_either_place() {
        let env = [("WERF_DIR", "env"), ("STAGEWRIGHT_LOG_VERBOSE", "true"), ("WERF_LOG_COLOR_MODE", "off")];
        let cli = parsed("stagewright plan", &env);
        assert_eq!(cli.global.dir.as_deref(), Some("env"));
        assert!(cli.global.log_verbose);
        assert_eq!(cli.global.color, args::ColorMode::Never);
        assert_eq!(parsed("stagewright --dir typed plan", &env).global.dir.as_deref(), Some("typed"));
        assert_eq!(parsed("stagewright plan --dir typed", &env).global.dir.as_deref(), Some("typed"));
        assert_eq!(parsed("stagewright --dir plan config list", &env).global.dir.as_deref(), Some("plan"));
    }

    #[test]
    fn lists_come_in_the_order_of_their_names_before_what_is_typed() {
        let env = [
            ("WERF_VALUES_2", "b.yaml"),
            ("WERF_VALUES_1", "a.yaml"),
            ("STAGEWRIGHT_VALUES_2", "ours.yaml"),
            ("WERF_SET_1", "a=1"),
            ("WERF_SET_STRING_1", "s=1"),
            ("WERF_SET_JSON_1", "j=1"),
            ("WERF_SET_ROOT_JSON_1", "{}"),
            ("WERF_SECRET_VALUES_1", "secret.yaml"),
        ];
        let read = plan("stagewright plan -f typed.yaml", &env);
        assert_eq!(read.deploy.secrets.secret_values, ["secret.yaml"]);
        let read = read.values;
        assert_eq!(read.values, ["a.yaml", "ours.yaml", "typed.yaml"]);
        assert_eq!(
            (read.set, read.set_string, read.set_json),
            (vec!["a=1".into()], vec!["s=1".into()], vec!["j=1".into()])
        );
    }

    #[test]
    fn platforms_are_a_list_that_is_replaced_by_what_is_typed() {
        let env = [("STAGEWRIGHT_PLATFORM", "linux/amd64,linux/arm64")];
        let platforms = |line: &str| plan(line, &env).build.platform;
        assert_eq!(platforms("stagewright plan"), ["linux/amd64", "linux/arm64"]);
        assert_eq!(platforms("stagewright plan --platform linux/s390x"), ["linux/s390x"]);
        let typed = platforms("stagewright plan --platform a/b --platform c/d,e/f");
        assert_eq!(typed, ["a/b", "c/d", "e/f"]);
    }

    #[test]
    fn nested_commands_and_positional_words_are_found() {
        let cli = parsed("stagewright config list", &[("WERF_CONFIG", "other.yaml")]);
        let Ours::Config(args::ConfigCommand::List(list)) = cli.command else { panic!("not a list") };
        assert_eq!(list.project.config.as_deref(), Some("other.yaml"));
        let read = plan("stagewright plan -- --dev=false", &[]);
        assert_eq!(read.images, ["--dev=false"]);
    }

    #[test]
    fn variables_of_werf_that_nothing_reads_are_named_and_those_that_need_no_option_are_not() {
        let unread = |names: &[&str]| {
            let env = names.iter().map(|name| ((*name).to_owned(), "x".to_owned())).collect();
            super::unread(args::command(), &env)
        };
        let missed = ["WERF_KUBE_TOKEN", "WERF_SET_ROOT_JSON_1", "WERF_VALEUS_1"];
        assert_eq!(unread(&missed), missed);
        let known = [
            "WERF_ADD_ANNOTATION_GIT_REPOSITORY_URL",
            "WERF_DOCKER_CONFIG",
            "WERF_ENV",
            "WERF_KUBECONFIG",
            "WERF_KUBE_CONFIG_BASE64",
            "WERF_LOG_PROJECT_DIR",
            "WERF_REPO",
            "WERF_REPO_GITHUB_TOKEN",
            "WERF_SECRET_KEY",
            "WERF_SET_1",
            "WERF_SET_STRING_WEB",
            "WERF_VALUES_10",
            "STAGEWRIGHT_ANY",
            "WERFT",
        ];
        assert!(unread(&known).is_empty(), "{:?}", unread(&known));
    }

    #[test]
    fn the_kubeconfig_of_a_variable_is_not_shown() {
        let env = [("WERF_KUBE_CONFIG_BASE64".to_owned(), "aHVudGVyMg==".to_owned())].into();
        let settings = in_force(args::command(), &["stagewright".into(), "plan".into()], &env);
        let setting = settings.iter().find(|setting| setting.option == "--kube-config-base64").unwrap();
        assert_eq!(setting.value, "(hidden)");
    }
}
