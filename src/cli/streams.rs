//! Where we read and print, and what an invocation is made of.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use super::args::{ColorMode, GlobalArgs};
use super::error::CliError;
use super::interrupt;
use crate::diag::{Diagnostics, Severity};
use crate::exec::Forecast;
use crate::report::{self, Look, Progress, Telling};
use crate::source::{Mask, Sources};

/// Width of text that goes to no terminal. Unit: columns.
const PIPE_WIDTH: usize = 120;

/// How often somebody who is asked looks whether the question still stands.
const LOOK: Duration = Duration::from_millis(50);

/// Everything a run of the program begins with.
pub struct Invocation {
    /// The command line; its first word is the program.
    pub args: Vec<OsString>,
    /// The environment; variables that are not Unicode are left out.
    pub env: BTreeMap<String, String>,
    /// The current directory.
    pub cwd: PathBuf,
    /// Where we read and print.
    pub streams: Streams,
}

impl Invocation {
    /// Returns the invocation of this process.
    pub fn of_process() -> Self {
        let text = |(k, v): (OsString, OsString)| Some((k.into_string().ok()?, v.into_string().ok()?));
        Self {
            args: std::env::args_os().collect(),
            env: std::env::vars_os().filter_map(text).collect(),
            cwd: std::env::current_dir().unwrap_or_else(|_| PathBuf::from(".")),
            streams: Streams::of_process(),
        }
    }
}

/// Where we read and print.
pub struct Streams {
    out: Box<dyn Write + Send>,
    out_terminal: bool,
    err_terminal: bool,
    in_terminal: bool,
    /// Whether data is coloured.
    pub out_color: bool,
    /// Whether talk is coloured.
    pub err_color: bool,
    width: usize,
    quiet: bool,
    verbose: bool,
    /// Whether stderr is a terminal that can be drawn on.
    live: bool,
    /// What no talk may show.
    mask: RwLock<Mask>,
}

impl Streams {
    fn of_process() -> Self {
        let width = console::Term::stdout().size_checked().map_or(PIPE_WIDTH, |(_, columns)| usize::from(columns));
        Self {
            out: Box::new(std::io::stdout()),
            out_terminal: std::io::stdout().is_terminal(),
            err_terminal: std::io::stderr().is_terminal(),
            in_terminal: std::io::stdin().is_terminal(),
            out_color: false,
            err_color: false,
            width,
            quiet: false,
            verbose: false,
            live: false,
            mask: RwLock::default(),
        }
    }

    /// Takes over what the options and the environment say.
    pub fn configure(&mut self, global: &GlobalArgs, env: &BTreeMap<String, String>) {
        self.quiet = global.log_quiet;
        self.verbose = global.log_verbose || global.log_debug;
        // Each request is told in between: a display would be torn.
        self.live = self.err_terminal && !global.log_debug && is_drawn_on(env);
        self.width = global.log_terminal_width.unwrap_or(self.width).max(40);
        self.out_color = uses_color(global.color, self.out_terminal, env);
        self.err_color = uses_color(global.color, self.err_terminal, env);
    }

    /// Says what must not be shown from now on.
    pub fn hide(&self, mask: Mask) {
        *self.mask.write().unwrap_or_else(PoisonError::into_inner) = mask;
    }

    /// Returns what must not be shown.
    pub fn mask(&self) -> Mask {
        self.mask.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Prints data.
    ///
    /// # Errors
    /// Nobody reads it, or it cannot be written.
    pub fn print(&mut self, text: &str) -> Result<(), CliError> {
        // What others wrote into it does nothing to a terminal.
        let text = if self.out_terminal { report::harmless(text) } else { text.into() };
        self.print_bytes(text.as_bytes())
    }

    /// Prints data that need not be text.
    pub fn print_bytes(&mut self, bytes: &[u8]) -> Result<(), CliError> {
        self.out.write_all(bytes)?;
        self.out.flush()?;
        Ok(())
    }

    /// Tells something on stderr; what cannot be told is not told.
    pub fn tell(&self, text: &str) {
        if !text.is_empty() {
            let _ = writeln!(std::io::stderr(), "{}", report::harmless(&self.mask().hide(text)));
        }
    }

    /// Tells something, unless only errors are wanted.
    pub fn inform(&self, text: &str) {
        if !self.quiet {
            self.tell(text);
        }
    }

    /// Tells findings; of a quiet run the errors only.
    pub fn tell_diagnostics(&self, diagnostics: Diagnostics, sources: &Sources) {
        // What is hidden once stays hidden.
        self.hide(self.mask().and(&sources.mask()));
        let mut list = diagnostics.into_sorted(sources);
        if self.quiet {
            list.retain(|d| d.severity == Severity::Error);
        }
        let text = report::diagnostics::text(&list, sources, self.err_look());
        self.tell(&format!("{text}{}", report::diagnostics::summary(&list)));
    }

    /// Returns the look of data.
    pub fn out_look(&self) -> Look {
        Look { color: self.out_color, width: self.width, verbose: self.verbose }
    }

    /// Returns the look of talk.
    pub fn err_look(&self) -> Look {
        Look { color: self.err_color, ..self.out_look() }
    }

    /// Says whether somebody can be asked.
    pub fn can_ask(&self) -> bool {
        self.in_terminal && self.err_terminal
    }

    /// Says whether a command can be given the terminal.
    pub fn has_terminal(&self) -> bool {
        self.in_terminal && self.out_terminal
    }

    /// Asks; anything but yes is no.
    pub fn ask(&self, question: &str) -> bool {
        let mut stderr = std::io::stderr();
        let _ = write!(stderr, "{} [y/N] ", self.mask().hide(question));
        let _ = stderr.flush();
        let (told, answer) = mpsc::channel();
        std::thread::spawn(move || {
            let mut line = String::new();
            let read = std::io::stdin().read_line(&mut line);
            // Whoever asked may have gone.
            let _ = told.send(read.is_ok() && matches!(line.trim().to_lowercase().as_str(), "y" | "yes"));
        });
        // Where somebody listens to ^C, a question is no reason to go on.
        while !interrupt::is_set() {
            match answer.recv_timeout(LOOK) {
                Ok(answer) => return answer,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        false
    }

    /// Returns the progress of a run of `total` operations; somebody else may want the terminal for himself.
    pub fn progress(&self, total: usize, forecast: &Forecast, terminal_is_ours: bool) -> Progress {
        let telling = match (self.quiet, self.live && terminal_is_ours) {
            (true, _) => Telling::Quiet,
            (false, true) => Telling::Live,
            (false, false) => Telling::Lines,
        };
        Progress::new(telling, self.err_look(), Box::new(std::io::stderr()), (total, forecast)).hiding(self.mask())
    }
}

/// Says whether a terminal is one for people who watch.
fn is_drawn_on(env: &BTreeMap<String, String>) -> bool {
    let set = |name: &str| env.get(name).is_some_and(|v| !v.is_empty());
    let is_ci = env.get("CI").is_some_and(|v| !matches!(v.as_str(), "" | "0" | "false"));
    env.get("TERM").is_none_or(|t| t != "dumb") && !set("NO_COLOR") && !is_ci
}

/// Source: <https://no-color.org> and <https://bixense.com/clicolors>.
fn uses_color(mode: ColorMode, terminal: bool, env: &BTreeMap<String, String>) -> bool {
    let set = |name: &str| env.get(name).is_some_and(|v| !v.is_empty());
    match mode {
        ColorMode::Always => true,
        ColorMode::Never => false,
        ColorMode::Auto if set("NO_COLOR") => false,
        ColorMode::Auto if env.get("CLICOLOR_FORCE").is_some_and(|v| !v.is_empty() && v != "0") => true,
        ColorMode::Auto => terminal && env.get("TERM").is_none_or(|t| t != "dumb"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_drawn_on_dumb_terminals_without_colour_and_in_ci() {
        let drawn = |name: &str, value: &str| is_drawn_on(&BTreeMap::from([(name.to_owned(), value.to_owned())]));
        assert!(drawn("TERM", "xterm-256color") && drawn("CI", "false") && drawn("NO_COLOR", ""));
        assert!(!drawn("TERM", "dumb") && !drawn("CI", "true") && !drawn("NO_COLOR", "1"));
    }

    #[test]
    fn what_is_hidden_stays_hidden_when_something_else_is_told() {
        let streams = Streams::of_process();
        streams.hide(Mask::default().with(["hunter2"]));
        streams.tell_diagnostics(Diagnostics::new(), &Sources::new());
        assert!(streams.mask().finds("it says hunter2"));
    }

    #[test]
    fn colours_follow_options_then_environment_then_terminal() {
        let env = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<BTreeMap<_, _>>()
        };
        assert!(uses_color(ColorMode::Auto, true, &env(&[])));
        assert!(!uses_color(ColorMode::Auto, false, &env(&[])));
        assert!(!uses_color(ColorMode::Auto, true, &env(&[("TERM", "dumb")])));
        assert!(!uses_color(ColorMode::Auto, true, &env(&[("NO_COLOR", "1"), ("CLICOLOR_FORCE", "1")])));
        assert!(uses_color(ColorMode::Auto, false, &env(&[("CLICOLOR_FORCE", "1")])));
        assert!(uses_color(ColorMode::Always, false, &env(&[("NO_COLOR", "1")])));
        assert!(!uses_color(ColorMode::Never, true, &env(&[("CLICOLOR_FORCE", "1")])));
    }
}
