//! Options that Jsonnet files see, as in `jsonnet`.

use clap::Args;

/// Variables and arguments of Jsonnet files.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Jsonnet options")]
pub struct JsonnetArgs {
    /// Sets an external variable to a string; a name alone takes the environment variable of that name.
    #[arg(short = 'V', long, value_name = "VAR[=TEXT]")]
    pub ext_str: Vec<String>,
    /// Sets an external variable to Jsonnet code.
    #[arg(long, value_name = "VAR[=CODE]")]
    pub ext_code: Vec<String>,
    /// Sets an argument of the files that are functions to a string.
    #[arg(short = 'A', long, value_name = "VAR[=TEXT]")]
    pub tla_str: Vec<String>,
    /// Sets an argument of the files that are functions to Jsonnet code.
    #[arg(long, value_name = "VAR[=CODE]")]
    pub tla_code: Vec<String>,
}
