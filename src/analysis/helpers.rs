//! Named templates that nothing includes.
//!
//! The one idea: a name counts as used when it stands in quotes anywhere but after `define`; so no helper that is used in
//! an unusual way is told.

use std::collections::BTreeSet;

use crate::diag::rules::UNUSED_HELPER;
use crate::diag::{Diagnostic, Diagnostics};
use crate::source::{FileId, SourceFile, Span};

/// Reports helpers of the files for which `is_own` is true that no text of `files` names.
pub fn report_unused<'f>(
    diagnostics: &mut Diagnostics,
    files: impl Iterator<Item = (FileId, &'f SourceFile)> + Clone,
    is_own: impl Fn(&str) -> bool,
) {
    let mut used: BTreeSet<&str> = BTreeSet::new();
    let mut heads: BTreeSet<&str> = BTreeSet::new();
    for (_, file) in files.clone() {
        for name in quoted(file.text()).filter(|name| !name.defines) {
            used.insert(name.text);
            // `include (printf "chart.%s" …)` and its like: what begins so may be meant.
            heads.extend(name.text.split('%').next().filter(|head| *head != name.text && !head.is_empty()));
        }
    }
    for (id, file) in files.filter(|(_, file)| is_own(file.path())) {
        for name in quoted(file.text()).filter(|name| name.defines && !used.contains(name.text)) {
            if heads.iter().any(|head| name.text.starts_with(head)) {
                continue;
            }
            let span = Span::new(id, name.at, name.at + name.text.len());
            let found = Diagnostic::at(&UNUSED_HELPER, span, format!("nothing includes the helper `{}`", name.text));
            diagnostics.push(found.hint("take it out, or include it"));
        }
    }
}

struct Name<'t> {
    text: &'t str,
    at: usize,
    defines: bool,
}

/// Returns what stands in quotes on one line.
fn quoted(text: &str) -> impl Iterator<Item = Name<'_>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = text.get(at..)?;
        let start = at + rest.find(['"', '`', '\n'])?;
        let quote = text.get(start..)?.chars().next()?;
        at = start + 1;
        if quote == '\n' {
            return Some(Name { text: "", at, defines: false });
        }
        let inner = text.get(at..)?;
        let end = inner.find([quote, '\n'])?;
        let name = inner.get(..end)?;
        if !inner.get(end..)?.starts_with(quote) {
            at += end;
            return Some(Name { text: "", at, defines: false });
        }
        let before = text.get(..start)?.trim_end();
        let found = Name { text: name, at, defines: before.ends_with("define") };
        at += end + 1;
        Some(found)
    })
    .filter(|name| !name.text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Sources;

    #[test]
    fn helpers_that_no_text_names_are_told() {
        let sources = Sources::new();
        sources.add(
            "t/_h.tpl",
            "{{ define \"a\" }}{{ end }}\n{{- define \"b\" -}}it's \"x{{ end }}\n{{ define \"c\" }}{{ end }}",
        );
        sources
            .add("t/x.yaml", "{{ include \"a\" . }} {{ define \"k.v\" }}{{ end }}{{ include (printf \"k.%s\" .x) . }}");
        sources.add("lib/_h.tpl", "{{ define \"lib\" }}{{ end }}");
        let all = sources.all();
        let mut d = Diagnostics::new();
        report_unused(&mut d, all.iter().map(|(id, file)| (*id, &**file)), |path| path.starts_with("t/"));
        let told: Vec<String> = d.into_sorted(&sources).into_iter().map(|d| d.message).collect();
        assert_eq!(told, ["nothing includes the helper `b`", "nothing includes the helper `c`"]);
    }
}
