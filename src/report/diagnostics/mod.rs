//! Diagnostics as text for people and in the formats of CI systems, one function each.
//!
//! All take the diagnostics in the order they shall be shown, see `Diagnostics::into_sorted`.

mod finding;
mod forges;
mod junit;
mod sarif;
mod text;

pub use finding::{Finding, Frame, findings, json};
pub use forges::{github, gitlab};
pub use junit::junit;
pub use sarif::sarif;
pub use text::{summary, text};

#[cfg(test)]
mod tests {
    use crate::diag::{Diagnostic, TraceFrame, rules};
    use crate::source::{Sources, Span};

    pub(super) fn fixture() -> (Sources, Vec<Diagnostic>) {
        let sources = Sources::new();
        let template = "kind: Deployment\nspec:\n  replicas: {{ .Values.web.replica }}\n".to_owned();
        let at = template.find("replica }}").unwrap();
        let web = sources.add(".helm/templates/web.yaml", template);
        let values = sources.add(".helm/values.yaml", "# values\nweb:\n  replicas: 2\n");
        let all = sources.add(".helm/templates/all.yaml", "\n\n{{ include \"web\" . }}\n");
        let first = Diagnostic::at(
            &rules::TEMPLATE_ERROR,
            Span::new(web, at, at + 7),
            "template reads a value that is not set",
        )
        .label("`web` has no key `replica`")
        .also(Span::new(values, 9, 12), "`web` is set here")
        .traced([TraceFrame { span: Span::new(all, 2, 10), text: "include \"web\"".into() }])
        .hint("did you mean `replicas`?");
        let whole = Diagnostic::in_file(&rules::FILE_NOT_FOUND, "werf.yaml", "the project has no configuration");
        (sources, vec![first, whole])
    }

    #[test]
    fn what_github_would_drop_is_told_in_the_log() {
        let sources = Sources::new();
        let one = |n: u32| Diagnostic::in_file(&rules::FILE_NOT_FOUND, format!("f{n}"), "is not there");
        let list: Vec<Diagnostic> = (0..12).map(one).collect();
        let out = super::github(&list, &sources);
        assert_eq!(out.matches("::error ").count(), 10);
        assert!(out.contains("::group::2 further findings\nf10:1:1: error[file-not-found]: is not there\n"), "{out}");
    }

    #[test]
    fn equal_findings_have_fingerprints_of_their_own() {
        let sources = Sources::new();
        let file = sources.add("a", "xx");
        let at = |n| Diagnostic::at(&rules::WRONG_TYPE, Span::new(file, n, n + 1), "no number");
        let list: serde_json::Value = serde_json::from_str(&super::gitlab(&[at(0), at(1)], &sources)).unwrap();
        assert_ne!(list[0]["fingerprint"], list[1]["fingerprint"]);
    }
}
