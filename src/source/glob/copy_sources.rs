//! Sources of COPY and ADD: Go's `filepath.Match` per component; a matched directory brings all below.
//!
//! Source: Dockerfile reference, COPY.

use crate::source::{PathFilter, Verdict};

use super::components::{Components, Standing};
use super::{BadPattern, clean_path};

/// The sources of one COPY, relative to the context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopySources(Vec<Components>);

impl CopySources {
    /// Compiles the sources; a leading `/` and `./` mean nothing, `..` stays inside the context.
    ///
    /// # Errors
    /// A source is no pattern.
    pub fn new<'a>(sources: impl IntoIterator<Item = &'a str>) -> Result<Self, BadPattern> {
        let compile = |s: &str| Components::new(&clean_path(&format!("/{s}")), false, &['^']);
        Ok(Self(sources.into_iter().map(compile).collect::<Result<_, _>>()?))
    }

    /// Compiles the source of a copy that keeps parents: there `**` stands for any number of directories.
    ///
    /// # Errors
    /// The source is no pattern.
    pub fn with_parents(source: &str) -> Result<Self, BadPattern> {
        Ok(Self(vec![Components::new(&clean_path(&format!("/{source}")), true, &['^'])?]))
    }

    /// Says whether some source brings this path, or a directory above it.
    pub fn matches(&self, path: &str) -> bool {
        self.0.iter().any(|c| c.standing(path) == Standing::Matched)
    }
}

impl PathFilter for CopySources {
    fn verdict(&self, path: &str, is_directory: bool) -> Verdict {
        let mut verdict = Verdict::None;
        for source in &self.0 {
            match source.standing(path) {
                Standing::Matched => return Verdict::All,
                Standing::MayMatchBelow if is_directory => verdict = Verdict::Descend,
                Standing::MayMatchBelow | Standing::Never => {}
            }
        }
        verdict
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_match_per_component() {
        let sources = CopySources::new(["/src/*.go", "./conf", "arr[[]0].txt"]).unwrap();
        assert!(sources.matches("src/a.go") && sources.matches("conf/x/y") && sources.matches("arr[0].txt"));
        assert!(!sources.matches("src/d/a.go") && !sources.matches("src/a.rs"));
        assert_eq!(sources.verdict("src", true), Verdict::Descend);
        assert_eq!(sources.verdict("conf", true), Verdict::All);
        assert_eq!(sources.verdict("doc", true), Verdict::None);
        assert_eq!(CopySources::new(["."]).unwrap().verdict("doc", true), Verdict::All);
        assert!(!CopySources::new(["**/x"]).unwrap().matches("a/b/x"), "`**` is two stars here");
        assert!(CopySources::new(["["]).is_err());
        let deep = CopySources::with_parents("**/x").unwrap();
        assert!(deep.matches("a/b/x") && deep.matches("x") && !deep.matches("a/xx"));
    }
}
