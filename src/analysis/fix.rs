//! Safe mendings: the texts of files after the fixes of their findings.

use std::collections::BTreeMap;

use crate::diag::rules::{ADD_INSTEAD_OF_COPY, BLANK_CONTINUATION, DEPRECATED_KEY, INEFFECTIVE_KEY, UNQUOTED_VALUE};
use crate::diag::{Diagnostic, Fix, Rule};
use crate::source::{FileId, Sources};

/// The rules that have safe mendings, and what `lint --fix` does for each.
pub const MENDED: &[(&Rule, &str)] = &[
    (
        &DEPRECATED_KEY,
        "renames `fromImage`, `image` of an import, and `contextAddFile`; not beside merged mappings (`<<`)",
    ),
    (&INEFFECTIVE_KEY, "takes the slash at the end of `to` of a git mapping off"),
    (&UNQUOTED_VALUE, "puts quotes around an argument, which keeps it as it is written"),
    (&BLANK_CONTINUATION, "takes the blank line out"),
    (&ADD_INSTEAD_OF_COPY, "writes `COPY`"),
];

/// Returns the files that fixes change: path, text before and text after. Overlapping fixes: the first wins.
pub fn fixed(findings: &[Diagnostic], sources: &Sources) -> Vec<(String, String, String)> {
    let mut by_file: BTreeMap<FileId, Vec<(&Rule, &Fix)>> = BTreeMap::new();
    for (rule, fix) in findings.iter().filter_map(|d| Some((d.rule, d.fix.as_ref()?))) {
        by_file.entry(fix.span.file).or_default().push((rule, fix));
    }
    let mut files = Vec::new();
    for (id, mut fixes) in by_file {
        let file = sources.get(id);
        // where a mapping is merged into others, a key of another name may come to count there
        if file.text().contains("<<:") {
            fixes.retain(|(rule, _)| rule.name != DEPRECATED_KEY.name);
        }
        let mut fixes: Vec<&Fix> = fixes.into_iter().map(|(_, fix)| fix).collect();
        fixes.sort_by_key(|fix| (fix.span.start, fix.span.end));
        let (mut text, mut done) = (String::new(), 0);
        for fix in fixes {
            let (start, end) = (fix.span.start as usize, fix.span.end as usize);
            if start < done {
                continue;
            }
            text.push_str(file.text().get(done..start).unwrap_or(""));
            text.push_str(&fix.text);
            done = end;
        }
        text.push_str(file.text().get(done..).unwrap_or(""));
        files.push((file.path().to_owned(), file.text().to_string(), text));
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Span;

    #[test]
    fn fixes_of_a_file_are_made_together_and_the_first_of_two_that_overlap_wins() {
        let sources = Sources::new();
        let file = sources.add("a.yaml", "a: 010\nb: 1e3\n");
        let fix =
            |start, end, text: &str| Diagnostic::at(&UNQUOTED_VALUE, Span::new(file, start, end), "x").fixed(text);
        let found = [fix(10, 13, "\"1e3\""), fix(3, 6, "\"010\""), fix(4, 6, "!")];
        let made = fixed(&found, &sources);
        assert_eq!(made, [("a.yaml".into(), "a: 010\nb: 1e3\n".into(), "a: \"010\"\nb: \"1e3\"\n".into())]);
    }
}
