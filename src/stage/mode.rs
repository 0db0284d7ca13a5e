//! What `--chmod` makes of a mode: digits replace it, a symbolic mode changes it.

use serde::{Deserialize, Serialize};

/// Modes of copied files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum CopyMode {
    /// All get this one.
    Fixed(u32),
    /// Each is changed as `chmod` would, for example by `u+x,go=`.
    Change(String),
}

/// What counts where a change names nobody. Source: BuildKit.
const UMASK: u32 = 0o022;
/// All bits of a mode.
const ALL: u32 = 0o7777;

impl CopyMode {
    /// Reads octal digits or a symbolic mode; `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.starts_with(|c: char| c.is_ascii_digit()) {
            let mode = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= ALL)?;
            return Some(Self::Fixed(mode));
        }
        changed(text, 0, false).map(|_| Self::Change(text.to_owned()))
    }

    /// Returns the mode that a file or directory of this mode gets.
    #[must_use]
    pub fn apply(&self, mode: u32, is_directory: bool) -> u32 {
        match self {
            Self::Fixed(fixed) => fixed & ALL,
            Self::Change(text) => changed(text, mode, is_directory).unwrap_or(mode),
        }
    }
}

impl std::fmt::Display for CopyMode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Fixed(mode) => write!(f, "{mode:o}"),
            Self::Change(text) => f.write_str(text),
        }
    }
}

/// Carries out a symbolic mode; `None` when it is malformed. Source: POSIX, `chmod`.
fn changed(text: &str, mode: u32, is_directory: bool) -> Option<u32> {
    let mut mode = mode;
    for clause in text.split(',') {
        let (who, mut actions) = clause.split_at_checked(clause.find(['+', '-', '='])?)?;
        let mut affected = 0;
        for c in who.chars() {
            affected |= match c {
                'u' => 0o4700,
                'g' => 0o2070,
                'o' => 0o1007,
                'a' => ALL,
                _ => return None,
            };
        }
        let mask = if who.is_empty() { ALL & !UMASK } else { affected };
        while let Some(operator) = actions.chars().next() {
            let rest = actions.get(1..)?;
            let (permissions, after) = rest.split_at_checked(rest.find(['+', '-', '=']).unwrap_or(rest.len()))?;
            let value = bits(permissions, mode, is_directory)? & mask;
            mode = match operator {
                '+' => mode | value,
                '-' => mode & !value,
                '=' => (mode & if who.is_empty() { 0 } else { !affected }) | value,
                _ => return None,
            };
            actions = after;
        }
    }
    Some(mode & ALL)
}

/// Returns the bits that letters stand for, as if for everybody.
fn bits(letters: &str, mode: u32, is_directory: bool) -> Option<u32> {
    let mut bits = 0;
    for c in letters.chars() {
        bits |= match c {
            'r' => 0o444,
            'w' => 0o222,
            'x' => 0o111,
            'X' if is_directory || mode & 0o111 != 0 => 0o111,
            'X' => 0,
            's' => 0o6000,
            't' => 0o1000,
            'u' => ((mode >> 6) & 7) * 0o111,
            'g' => ((mode >> 3) & 7) * 0o111,
            'o' => (mode & 7) * 0o111,
            _ => return None,
        };
    }
    Some(bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbolic_modes_change_and_digits_replace() {
        for (text, before, after) in [
            ("0755", 0o644, 0o755),
            ("+x", 0o644, 0o755),
            ("+w", 0o444, 0o644),
            ("u+x,g-w", 0o664, 0o744),
            ("go=", 0o755, 0o700),
            ("u=rwx,g=u-w,o=", 0o644, 0o750),
            ("a+X", 0o644, 0o644),
            ("a+X", 0o744, 0o755),
            ("ug+s", 0o755, 0o6755),
            ("=r", 0o777, 0o444),
        ] {
            assert_eq!(CopyMode::parse(text).unwrap().apply(before, false), after, "{text}");
        }
        assert_eq!(CopyMode::parse("a+X").unwrap().apply(0o644, true), 0o755);
        for text in ["", "x", "u", "u+q", "z+x", "u+x,", "99999", "8", "0x1"] {
            assert_eq!(CopyMode::parse(text), None, "{text}");
        }
    }
}
