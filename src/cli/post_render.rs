//! `--post-renderer`: another program has the last word on the manifests. Source: Helm 3.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use super::error::CliError;

/// Gives the manifests to a program and returns what it prints.
pub fn post_render(program: &str, args: &[String], manifests: String, cwd: &Path) -> Result<String, CliError> {
    let attempt = format!("run the post-renderer {program}");
    let failed = |e: std::io::Error| CliError::environment(attempt.clone(), e);
    // Without a slash it is looked for in the search path.
    let path = if program.contains('/') { cwd.join(program) } else { program.into() };
    let mut child = Command::new(path)
        .args(args)
        .current_dir(cwd)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let stdin = child.stdin.take();
    let output = std::thread::scope(|scope| {
        scope.spawn(move || {
            // A program that does not read all of it is free to do so.
            let _ = stdin.map(|mut stdin| stdin.write_all(manifests.as_bytes()));
        });
        child.wait_with_output()
    });
    let output = output.map_err(failed)?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).trim_end().to_owned();
        return Err(CliError::environment(
            attempt,
            format!("{}: {said}", output.status).trim_end_matches(": ").to_owned(),
        ));
    }
    let text = String::from_utf8(output.stdout)
        .map_err(|_| CliError::environment(attempt.clone(), "its output is not Unicode"))?;
    if text.trim().is_empty() {
        return Err(CliError::environment(attempt, "it produced empty output"));
    }
    Ok(text)
}
