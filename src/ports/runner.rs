//! The runner port: runs a command in an image, with the terminal and the pipes of the user.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::AtomicUsize;

use super::builder::{BuildContext, BuildError};
use crate::stage::{ImageRef, Network, Platform};

/// What is run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageRun {
    /// The image.
    pub image: ImageRef,
    /// Its platform.
    pub platform: Platform,
    /// In place of the image's entry point; its command is then forgotten too, as Docker does.
    pub entrypoint: Option<Vec<String>>,
    /// In place of the image's command, unless it is empty.
    pub arguments: Vec<String>,
    /// Variables besides those of the image.
    pub environment: BTreeMap<String, String>,
    /// In place of the image's user.
    pub user: Option<String>,
    /// In place of the image's working directory.
    pub working_dir: Option<String>,
    /// Folders and files of the host.
    pub mounts: Vec<HostMount>,
    /// The network.
    pub network: Network,
    /// Whether it gets a terminal of its own; else stdin, stdout and stderr are handed through.
    pub terminal: bool,
}

/// A folder or file of the host that a command sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostMount {
    /// Where it is, absolute.
    pub source: PathBuf,
    /// Where it goes, absolute.
    pub target: String,
    /// Whether it can be changed.
    pub writable: bool,
}

impl ImageRun {
    /// Returns a run of an image as it is, without a terminal.
    pub fn of(image: ImageRef, platform: Platform) -> Self {
        Self {
            image,
            platform,
            entrypoint: None,
            arguments: Vec::new(),
            environment: BTreeMap::new(),
            user: None,
            working_dir: None,
            mounts: Vec::new(),
            network: Network::Default,
            terminal: false,
        }
    }

    /// Returns the program and its arguments; `None` when neither the image nor the user names one.
    pub fn words(&self, entrypoint: &[String], command: &[String]) -> Option<Vec<String>> {
        let (entrypoint, command) = match &self.entrypoint {
            Some(own) => (own.as_slice(), &[][..]),
            None => (entrypoint, command),
        };
        let command = if self.arguments.is_empty() { command } else { &self.arguments };
        let words: Vec<String> = entrypoint.iter().chain(command).cloned().collect();
        (!words.is_empty()).then_some(words)
    }
}

/// Runs images. Nothing that a run makes is left behind.
pub trait Runner {
    /// Runs a command to its end and returns its exit status; above 128, 128 and the signal that ended it.
    ///
    /// `signal` may be set to the number of a signal while it runs: it is handed on to the command.
    ///
    /// # Errors
    /// The command was not started.
    fn run_image(&self, run: &ImageRun, context: &BuildContext<'_>, signal: &AtomicUsize) -> Result<i32, BuildError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(entrypoint: Option<&str>, arguments: &[&str]) -> Option<String> {
        let words = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
        let run = ImageRun::of(ImageRef::External { reference: "x".into() }, Platform::linux_amd64());
        let run = ImageRun { entrypoint: entrypoint.map(|e| words(&[e])), arguments: words(arguments), ..run };
        run.words(&words(&["entry"]), &words(&["cmd"])).map(|w| w.join(" "))
    }

    #[test]
    fn arguments_replace_the_command_and_an_entry_point_forgets_it() {
        assert_eq!(run(None, &[]).as_deref(), Some("entry cmd"));
        assert_eq!(run(None, &["a", "b"]).as_deref(), Some("entry a b"));
        assert_eq!(run(Some("sh"), &[]).as_deref(), Some("sh"));
        assert_eq!(run(Some("sh"), &["-c"]).as_deref(), Some("sh -c"));
    }
}
