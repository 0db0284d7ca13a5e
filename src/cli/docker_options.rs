//! `--docker-options` of `run`: the options of `docker run` that say how a command is run, for every builder.
//!
//! The one idea: what is known means the same with and without an engine; what is not known is refused, not passed over.

use std::path::Path;

use super::error::CliError;
use crate::ports::{HostMount, ImageRun};
use crate::stage::Network;

/// The options that are known.
const KNOWN: &str =
    "-i, -t, --rm, -e NAME=VALUE, -v SOURCE:TARGET[:ro], -w DIR, -u USER, --entrypoint PROGRAM, --network none|host";

/// Reads the options into a run; `cwd` is where relative folders of the host are.
///
/// # Errors
/// An option is not known, or lacks its value.
pub fn apply(run: &mut ImageRun, text: &str, cwd: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<(), CliError> {
    let wrong = |what: String| CliError::user(format!("--docker-options: {what}")).hint(format!("known are {KNOWN}"));
    let words = split(text).ok_or_else(|| wrong("a quote is not closed".into()))?;
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        let (name, mut value) = match word.split_once('=') {
            Some((name, value)) if name.starts_with("--") => (name.to_owned(), Some(value.to_owned())),
            Some(_) | None => (word.clone(), None),
        };
        let mut next = || value.take().or_else(|| words.next()).ok_or_else(|| wrong(format!("{name} needs a value")));
        match name.as_str() {
            // A terminal is given where there is one, stdin always, and nothing is left behind.
            "-i" | "-t" | "-it" | "-ti" | "--interactive" | "--tty" | "--rm" => {}
            "-e" | "--env" => {
                let pair = next()?;
                let (name, value) = match pair.split_once('=') {
                    Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                    None => (pair.clone(), env(&pair)),
                };
                run.environment.extend(value.map(|value| (name, value)));
            }
            "-v" | "--volume" => {
                let text = next()?;
                run.mounts
                    .push(mount(&text, cwd).ok_or_else(|| wrong(format!("-v {text}: write SOURCE:TARGET[:ro]")))?);
            }
            "-w" | "--workdir" => run.working_dir = Some(next()?),
            "-u" | "--user" => run.user = Some(next()?),
            "--entrypoint" => run.entrypoint = Some(vec![next()?]),
            "--network" | "--net" => {
                run.network = match next()?.as_str() {
                    "none" => Network::None,
                    "host" => Network::Host,
                    other => return Err(wrong(format!("--network {other}"))),
                }
            }
            _ => return Err(wrong(format!("{word} is not known"))),
        }
    }
    Ok(())
}

fn mount(text: &str, cwd: &Path) -> Option<HostMount> {
    let (source, rest) = text.split_once(':')?;
    let (target, mode) = rest.split_once(':').unwrap_or((rest, "rw"));
    let is_path = source.contains('/') || source == ".";
    let known = ["rw", "ro", "z", "Z"].contains(&mode);
    let mount = HostMount { source: cwd.join(source), target: target.to_owned(), writable: mode != "ro" };
    (is_path && known && target.starts_with('/')).then_some(mount)
}

/// Splits a line into words as a shell does; `None` when a quote is not closed.
fn split(text: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some('"') | None, '\\') => word.get_or_insert_default().extend(chars.next()),
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (Some(_) | None, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stage::{ImageRef, Platform};

    fn read(text: &str) -> Result<ImageRun, String> {
        let mut run = ImageRun::of(ImageRef::External { reference: "x".into() }, Platform::linux_amd64());
        let env = |name: &str| (name == "HERE").then(|| "1".to_owned());
        apply(&mut run, text, Path::new("/here"), &env).map(|()| run).map_err(|e| e.text(false))
    }

    #[test]
    fn options_of_docker_run_say_how_it_runs() {
        let run =
            read("-ti --rm -e A='b c' -e HERE -e GONE -v ./x:/y:ro --workdir=/w -u 1:2 --entrypoint sh --network=none")
                .unwrap();
        let environment: Vec<String> = run.environment.iter().map(|(k, v)| format!("{k}={v}")).collect();
        assert_eq!(environment, ["A=b c", "HERE=1"]);
        let mount = run.mounts.first().unwrap();
        assert_eq!((mount.source.to_str(), mount.target.as_str(), mount.writable), (Some("/here/./x"), "/y", false));
        assert_eq!((run.working_dir.as_deref(), run.user.as_deref()), (Some("/w"), Some("1:2")));
        assert_eq!((run.entrypoint, run.network), (Some(vec!["sh".to_owned()]), Network::None));
    }

    #[test]
    fn what_is_not_known_is_refused() {
        for text in ["-d", "-p 80:80", "--network bridge", "-v name:/x", "-e", "'open"] {
            let told = read(text).unwrap_err();
            assert!(told.contains("--docker-options") && told.contains("--entrypoint"), "{told}");
        }
    }
}
