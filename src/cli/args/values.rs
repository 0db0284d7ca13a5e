//! Options that give values to charts, as in Helm and werf.

use clap::{Args, ValueEnum};

/// Values, lowest layer first: files, then JSON, then the others in Helm's order.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Values")]
pub struct ValuesArgs {
    /// A file of values; may be repeated, later ones win.
    #[arg(short = 'f', long, value_name = "FILE")]
    pub values: Vec<String>,
    /// Sets values: `a.b=1,c=2`.
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Sets values that are texts.
    #[arg(long, value_name = "KEY=VALUE")]
    pub set_string: Vec<String>,
    /// Sets values to the content of files.
    #[arg(long, value_name = "KEY=FILE")]
    pub set_file: Vec<String>,
    /// Sets values to JSON.
    #[arg(long, value_name = "KEY=JSON")]
    pub set_json: Vec<String>,
    /// Sets a value to a text as it is, commas included.
    #[arg(long, value_name = "KEY=VALUE")]
    pub set_literal: Vec<String>,
    /// What a null in values means: `helm` by default, and in a bundle what it meant at its publication.
    #[arg(long, value_enum, value_name = "PROFILE", hide_short_help = true)]
    pub values_nulls: Option<NullsProfile>,
}

/// Whose rules nulls follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum NullsProfile {
    /// As Helm 3.20 and 4.1.
    Helm,
    /// As Helm 4 after 4.1: nulls in the defaults of a chart take nothing away.
    Helm4,
    /// As werf 2 and Nelm 1: a null may bring the default of a subchart back.
    Werf,
    /// A null takes away what all layers below it say, and is no value itself.
    Strict,
}

/// Where values come from.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Values")]
pub struct ExplainValuesArgs {
    /// Tells where the value at a path (`web.image.tag`) comes from, and does nothing else: every layer that sets it, the
    /// highest first, the winner marked; of a table the winner of each value in it, `.` is all. May be repeated. Neither a
    /// store nor a cluster is asked.
    #[arg(long, value_name = "PATH")]
    pub explain_values: Vec<String>,
}
