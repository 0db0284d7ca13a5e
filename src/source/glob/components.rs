//! Patterns as lists of components, matched against paths component by component; `**` is any number of them.

use super::BadPattern;
use super::shell::ShellPattern;

/// One component of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Component {
    Literal(String),
    Pattern(ShellPattern),
    AnyDepth,
}

/// A pattern over paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Components(Vec<Component>);

/// How a path stands to a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// The path or one of its ancestors matches.
    Matched,
    /// It does not, but something below the path may.
    MayMatchBelow,
    /// Nothing at or below the path matches.
    Never,
}

impl Components {
    /// Compiles a pattern; `any_depth` says whether `**` is special, `negations` what negates a class.
    pub fn new(pattern: &str, any_depth: bool, negations: &[char]) -> Result<Self, BadPattern> {
        let mut list = Vec::new();
        for part in pattern.split('/').filter(|p| !p.is_empty()) {
            if any_depth && part == "**" {
                if list.last() != Some(&Component::AnyDepth) {
                    list.push(Component::AnyDepth);
                }
                continue;
            }
            let compiled = ShellPattern::compile(part, negations)
                .map_err(|e| BadPattern { pattern: pattern.to_owned(), problem: e.problem })?;
            list.push(match compiled.literal() {
                Some(text) => Component::Literal(text),
                None => Component::Pattern(compiled),
            });
        }
        Ok(Self(list))
    }

    /// Walks the path's components through the pattern. The empty path is the root.
    pub fn standing(&self, path: &str) -> Standing {
        let mut states = vec![false; self.0.len() + 1];
        self.reach(&mut states, 0);
        if self.done(&states) {
            return Standing::Matched;
        }
        for part in path.split('/').filter(|p| !p.is_empty()) {
            let mut next = vec![false; states.len()];
            for (i, component) in self.0.iter().enumerate() {
                if !states.get(i).copied().unwrap_or(false) {
                    continue;
                }
                match component {
                    Component::AnyDepth => self.reach(&mut next, i),
                    Component::Literal(text) if text == part => self.reach(&mut next, i + 1),
                    Component::Pattern(pattern) if pattern.matches(part) => self.reach(&mut next, i + 1),
                    Component::Literal(_) | Component::Pattern(_) => {}
                }
            }
            states = next;
            if self.done(&states) {
                return Standing::Matched;
            }
            if !states.contains(&true) {
                return Standing::Never;
            }
        }
        Standing::MayMatchBelow
    }

    /// Marks a state, and those behind a `**`, which may stand for nothing.
    fn reach(&self, states: &mut [bool], mut at: usize) {
        loop {
            if let Some(state) = states.get_mut(at) {
                *state = true;
            }
            if self.0.get(at) != Some(&Component::AnyDepth) {
                return;
            }
            at += 1;
        }
    }

    fn done(&self, states: &[bool]) -> bool {
        states.get(self.0.len()).copied().unwrap_or(false)
    }
}
