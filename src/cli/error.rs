//! Errors of the command line: their words and their exit codes.

use std::any::Any;
use std::error::Error;

use console::Style;

use crate::exec::Violation;

/// The documented exit codes.
pub mod exit_code {
    /// Everything asked for is done.
    pub const DONE: u8 = 0;
    /// It failed.
    pub const ERROR: u8 = 1;
    /// `plan --exit-code`: there are changes.
    pub const CHANGES: u8 = 2;
    /// `plan --exit-code`: only the release record would change.
    pub const RECORD_ONLY: u8 = 3;
    /// The saved plan is stale.
    pub const STALE: u8 = 4;
    /// A policy refuses.
    pub const REFUSED: u8 = 5;
    /// Somebody else holds the lock.
    pub const LOCKED: u8 = 6;
    /// The command line is wrong.
    pub const USAGE: u8 = 64;
    /// Interrupted.
    pub const INTERRUPTED: u8 = 130;
}

/// Why a command did not do what was asked.
#[derive(Debug)]
pub enum CliError {
    /// The command line is wrong in a way that clap cannot see.
    Usage(String),
    /// The user asked for something that is not there or not possible.
    User {
        /// What is wrong.
        message: String,
        /// What to do.
        hint: Option<String>,
    },
    /// The configuration has errors; they have been told.
    Config,
    /// A file, store or target failed.
    Environment {
        /// What was attempted, on which object.
        attempt: String,
        /// Why it failed.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The plan is stale.
    Stale {
        /// What moved.
        violations: Vec<Violation>,
        /// Whether something was written before that was found.
        written: bool,
    },
    /// A policy refuses.
    Refused(String),
    /// Somebody else holds the lock.
    Locked(String),
    /// Operations failed; they have been told.
    Failed,
    /// Interrupted.
    Interrupted,
    /// A promise of our own code is broken.
    Internal(String),
    /// Nobody reads what we print: a reason to stop, not to complain.
    BrokenPipe,
}

impl CliError {
    /// Makes an error of the user, without a hint.
    pub fn user(message: impl Into<String>) -> Self {
        Self::User { message: message.into(), hint: None }
    }

    /// Adds what to do.
    #[must_use]
    pub fn hint(self, text: impl Into<String>) -> Self {
        match self {
            Self::User { message, .. } => Self::User { message, hint: Some(text.into()) },
            Self::Usage(_)
            | Self::Config
            | Self::Environment { .. }
            | Self::Stale { .. }
            | Self::Refused(_)
            | Self::Locked(_)
            | Self::Failed
            | Self::Interrupted
            | Self::Internal(_)
            | Self::BrokenPipe => self,
        }
    }

    /// Makes an error of the world around us.
    pub fn environment(attempt: impl Into<String>, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Environment { attempt: attempt.into(), source: source.into() }
    }

    /// Makes an error of a panic.
    pub(super) fn bug(payload: &(dyn Any + Send)) -> Self {
        let text = payload.downcast_ref::<&str>().map(|s| (*s).to_owned());
        let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
        Self::Internal(text.unwrap_or_else(|| "unknown fault".into()))
    }

    /// Returns the exit code.
    pub fn code(&self) -> u8 {
        match self {
            Self::Usage(_) => exit_code::USAGE,
            Self::User { .. } | Self::Config | Self::Environment { .. } | Self::Failed | Self::Internal(_) => {
                exit_code::ERROR
            }
            Self::Stale { .. } => exit_code::STALE,
            Self::Refused(_) => exit_code::REFUSED,
            Self::Locked(_) => exit_code::LOCKED,
            Self::Interrupted => exit_code::INTERRUPTED,
            Self::BrokenPipe => exit_code::DONE,
        }
    }

    /// Returns what is told; empty where everything has been told already.
    pub fn text(&self, color: bool) -> String {
        let error = Style::new().red().bold().force_styling(color).apply_to("error");
        match self {
            Self::Usage(message) => {
                format!("{error}: {message}\n\nFor more information, try '--help'.")
            }
            Self::User { message, hint } => {
                hint.iter().fold(format!("{error}: {message}"), |text, hint| format!("{text}\n  hint: {hint}"))
            }
            Self::Environment { attempt, source } => format!("{error}: {attempt}{}", caused_by(source.as_ref())),
            Self::Stale { violations, written } => stale(&error.to_string(), violations, *written),
            Self::Refused(why) => format!("{error}: refused: {why}"),
            Self::Locked(who) => format!("{error}: the lock is held: {who}"),
            Self::Interrupted => format!("{error}: interrupted"),
            Self::Internal(fault) => bug_report(&error.to_string(), fault),
            Self::Config | Self::Failed | Self::BrokenPipe => String::new(),
        }
    }
}

impl From<std::io::Error> for CliError {
    fn from(error: std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            return Self::BrokenPipe;
        }
        Self::environment("write the output", error)
    }
}

/// Each cause behind an error on a line of its own; those that repeat the one before are left out.
fn caused_by(source: &(dyn Error + 'static)) -> String {
    let mut text = String::new();
    let (mut next, mut last) = (Some(source), String::new());
    while let Some(cause) = next {
        let words = cause.to_string();
        if words != last {
            text += &format!("\n  caused by: {words}");
        }
        last = words;
        next = cause.source();
    }
    text
}

fn stale(error: &str, violations: &[Violation], written: bool) -> String {
    let written = if written { "it was carried out in part" } else { "nothing was written" };
    let list: String = violations.iter().map(|v| format!("\n  {v}")).collect();
    format!(
        "{error}: the plan is stale, {written}. Since it was made, this changed:{list}\n  \
         hint: make a new plan and review what is different"
    )
}

fn bug_report(error: &str, fault: &str) -> String {
    format!(
        "{error}: this is a bug in stagewright {}: {fault}\n  hint: please report it with the command line, and with the \
         output under RUST_BACKTRACE=1",
        env!("CARGO_PKG_VERSION")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_documented_code() {
        let codes = [
            (CliError::user("x"), 1),
            (CliError::Config, 1),
            (CliError::Stale { violations: Vec::new(), written: false }, 4),
            (CliError::Refused("x".into()), 5),
            (CliError::Locked("x".into()), 6),
            (CliError::Usage("x".into()), 64),
            (CliError::Interrupted, 130),
        ];
        for (error, code) in codes {
            assert_eq!(error.code(), code, "{error:?}");
        }
    }

    #[test]
    fn an_error_tells_every_cause_once_and_what_to_do() {
        let io = std::io::Error::other("disk is full");
        assert_eq!(
            CliError::environment("save plan.json", io).text(false),
            "error: save plan.json\n  caused by: disk is full"
        );
        assert_eq!(
            CliError::user("no such image").hint("see `config list`").text(false),
            "error: no such image\n  hint: see `config list`"
        );
    }

    #[test]
    fn a_panic_becomes_a_bug_report_and_a_broken_pipe_silence() {
        let payload: Box<dyn Any + Send> = Box::new("index of a closed list");
        assert!(CliError::bug(payload.as_ref()).text(false).contains("this is a bug in stagewright"));
        let pipe = std::io::Error::from(std::io::ErrorKind::BrokenPipe);
        assert_eq!(CliError::from(pipe).text(false), "");
    }
}
