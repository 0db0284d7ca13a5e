//! Choosing images on the command line.

use crate::diag::{Diagnostic, Diagnostics, did_you_mean, rules};
use crate::source::glob::ShellPattern;

use super::{Config, ImageIndex};

/// The longest pattern. Unit: bytes. Source: werf 2.x.
const MAX_PATTERN: usize = 100;

/// Which of the chosen images count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finals {
    /// Final images alone.
    Only,
    /// All images.
    AndOthers,
}

/// Returns the images that the patterns choose, in the order of the configuration.
///
/// A pattern is a shell pattern of one level; `!` in front takes away. Without a pattern that adds, all images are there
/// to begin with. A name that is given literally stays, whatever is taken away. Source: werf 2.x.
pub fn select(d: &mut Diagnostics, config: &Config, patterns: &[String], finals: Finals) -> Vec<ImageIndex> {
    let (taking, adding): (Vec<&String>, Vec<&String>) = patterns.iter().partition(|p| p.starts_with('!'));
    let mut chosen = vec![adding.is_empty(); config.images.len()];
    for pattern in &adding {
        mark(d, config, pattern, pattern, &mut chosen, true);
    }
    for pattern in &taking {
        mark(d, config, pattern, pattern.strip_prefix('!').unwrap_or(pattern), &mut chosen, false);
    }
    for name in &adding {
        if let Some(flag) = config.find(name).and_then(|i| chosen.get_mut(i.0)) {
            *flag = true;
        }
    }
    let counts = |i: &ImageIndex| finals == Finals::AndOthers || config.image(*i).is_final;
    let indices = chosen.iter().enumerate().filter(|(_, c)| **c).map(|(i, _)| ImageIndex(i));
    indices.filter(counts).collect()
}

fn mark(d: &mut Diagnostics, config: &Config, whole: &str, pattern: &str, chosen: &mut [bool], value: bool) {
    let fault = |d: &mut Diagnostics, message: String| {
        d.push(Diagnostic::in_file(&rules::INVALID_PATTERN, config.path.clone(), message));
    };
    if pattern.contains("**") || pattern.len() > MAX_PATTERN || pattern.contains(['&', '|', '$']) {
        fault(d, format!("`{whole}` cannot select images: no `**`, `&`, `|`, `$`, and at most {MAX_PATTERN} bytes"));
        return;
    }
    let compiled = match ShellPattern::new(pattern) {
        Ok(compiled) => compiled,
        Err(error) => return fault(d, error.to_string()),
    };
    let mut any = false;
    for ((_, image), flag) in config.iter().zip(chosen) {
        if compiled.matches(&image.name.value) {
            *flag = value;
            any = true;
        }
    }
    if value && !any {
        let found = Diagnostic::in_file(&rules::NO_SUCH_IMAGE, config.path.clone(), format!("no image is `{pattern}`"));
        d.push(match did_you_mean(pattern, config.images.iter().map(|i| i.name.value.as_str())) {
            Some(near) => found.hint(format!("did you mean `{near}`?")),
            None => found.hint(there_are(config)),
        });
    }
}

/// So many images are named.
const NAMED: usize = 10;

/// Says which images there are.
fn there_are(config: &Config) -> String {
    let names = config.images.iter().map(|i| i.name.value.as_str()).filter(|name| !name.is_empty());
    let mut names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
    if names.is_empty() {
        return "the image of this project has no name: leave it out".to_owned();
    }
    let more = names.len().saturating_sub(NAMED);
    names.truncate(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("there {} {}{more}", if names.len() == 1 { "is" } else { "are" }, names.join(", "))
}
