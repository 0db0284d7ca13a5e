//! `secret`: secret values and files.

use clap::{Args, Subcommand};

/// `secret`.
#[derive(Debug, Subcommand)]
pub enum SecretCommand {
    /// Prints a new key, for `.werf_secret_key`, `~/.werf/global_secret_key` or `STAGEWRIGHT_SECRET_KEY`.
    #[command(visible_alias = "generate-secret-key")]
    GenerateKey,
    /// Encrypts a text or a file, or every value of a file of values.
    Encrypt(SecretFileArgs),
    /// Decrypts what `encrypt` made.
    Decrypt(SecretFileArgs),
    /// Opens a secret file decrypted in `$VISUAL` or `$EDITOR`, and encrypts what changed.
    Edit(SecretEditArgs),
    /// Encrypts secret values and files anew: from `STAGEWRIGHT_OLD_SECRET_KEY` to the key in force.
    #[command(visible_alias = "rotate-secret-key")]
    Rotate(SecretRotateArgs),
}

/// `secret encrypt` and `secret decrypt`.
#[derive(Debug, Args)]
pub struct SecretFileArgs {
    /// The file that is read; stdin by default.
    #[arg(value_name = "FILE")]
    pub file: Option<String>,
    /// Takes the file as values: each is encrypted on its own. The default where the name ends in `secret-values.yaml`.
    #[arg(long)]
    pub values: bool,
    /// Writes to this file, and not to stdout.
    #[arg(short, long, value_name = "FILE")]
    pub output_file_path: Option<String>,
}

/// `secret edit`.
#[derive(Debug, Args)]
pub struct SecretEditArgs {
    /// The encrypted file; a new one where there is none.
    #[arg(value_name = "FILE")]
    pub file: String,
    /// Takes the file as values; the default where the name ends in `secret-values.yaml`.
    #[arg(long)]
    pub values: bool,
}

/// `secret rotate`.
#[derive(Debug, Args)]
pub struct SecretRotateArgs {
    /// Further files of values; `.helm/secret-values.yaml` and the files below `.helm/secret` always.
    #[arg(value_name = "FILE")]
    pub files: Vec<String>,
}
