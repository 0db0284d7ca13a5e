//! What a rule is. The rules themselves are in `rules.rs`.

use super::Severity;

/// A rule: the kind of a fault. Its long text is `docs/rules/NAME.md`.
#[derive(Debug, PartialEq, Eq)]
pub struct Rule {
    /// Stable name; describes the fault.
    pub name: &'static str,
    /// Severity unless configured otherwise.
    pub severity: Severity,
    /// One line, without user names.
    pub summary: &'static str,
    /// The long text, in Markdown.
    pub page: &'static str,
}

/// Declares the rules of a group, and `ALL` over them.
macro_rules! rules {
    ($($ident:ident, $name:literal, $severity:ident, $summary:literal;)*) => {
        $(
            #[doc = $summary]
            pub static $ident: $crate::diag::Rule = $crate::diag::Rule {
                name: $name,
                severity: $crate::diag::Severity::$severity,
                summary: $summary,
                page: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/rules/", $name, ".md")),
            };
        )*
        /// Every rule, in the order of the table.
        pub static ALL: &[&$crate::diag::Rule] = &[$(&$ident),*];
    };
}
pub(crate) use rules;
