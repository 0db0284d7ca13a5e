//! Options of every command.

use clap::{Args, ValueEnum};

/// When colours are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ColorMode {
    /// On a terminal, unless `NO_COLOR` is set or `TERM` is `dumb`.
    #[default]
    Auto,
    /// Always.
    #[value(alias = "on")]
    Always,
    /// Never.
    #[value(alias = "off")]
    Never,
}

/// Options of every command.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "General options")]
pub struct GlobalArgs {
    /// The project's directory; the current one by default.
    #[arg(long, global = true, value_name = "DIR")]
    pub dir: Option<String>,
    /// Uses colours.
    #[arg(long, global = true, alias = "log-color-mode", value_enum, default_value_t, value_name = "WHEN")]
    pub color: ColorMode,
    /// Tells errors only.
    #[arg(long, global = true)]
    pub log_quiet: bool,
    /// Tells more: what stays as it is, every reason.
    #[arg(long, global = true)]
    pub log_verbose: bool,
    /// Tells everything, for a bug report.
    #[arg(long, global = true)]
    pub log_debug: bool,
    /// Width of the text. Unit: columns.
    #[arg(long, global = true, value_name = "COLUMNS", hide_short_help = true)]
    pub log_terminal_width: Option<usize>,
}
