//! The imports of a Jsonnet text, found without evaluating it.
//!
//! The one idea: outside of comments and texts, `import` and a text after it is an import, wherever it stands.

/// Returns the files that a Jsonnet text imports, with their places. Where a text is at fault, the evaluator says so.
pub(super) fn imports(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let (mut at, mut is_import) = (0, false);
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let first = rest.chars().next().unwrap_or_default();
        let token = token_len(rest);
        if first == '"' || first == '\'' {
            let is_whole = token > 1 && rest.get(..token).is_some_and(|text| text.ends_with(first));
            let inner = text.get(at + 1..(at + token).saturating_sub(1)).filter(|_| is_whole);
            found.extend(inner.filter(|_| is_import).map(|wanted| (at + 1, wanted)));
        }
        let word = rest.get(..token).unwrap_or_default();
        let is_blank = first.is_whitespace() || ["//", "#", "/*"].iter().any(|start| rest.starts_with(start));
        is_import = matches!(word, "import" | "importstr" | "importbin") || is_import && is_blank;
        at += token;
    }
    found
}

/// Returns the length of the word, text, comment or character that Jsonnet begins with.
fn token_len(rest: &str) -> usize {
    let first = rest.chars().next().unwrap_or_default();
    let to = |end: &str, from: usize| {
        let found = rest.get(from..).and_then(|inner| inner.find(end));
        found.map_or(rest.len(), |at| from + at + end.len())
    };
    if first == '#' || rest.starts_with("//") {
        return to("\n", 0);
    }
    if rest.starts_with("/*") {
        return to("*/", 2);
    }
    if rest.starts_with("|||") {
        return to("|||", 3);
    }
    if rest.starts_with("@\"") || rest.starts_with("@'") {
        // A quote that is written twice ends it and begins it again.
        return to(rest.get(1..2).unwrap_or_default(), 2);
    }
    if first == '"' || first == '\'' {
        let mut escaped = false;
        let end = rest.char_indices().skip(1).find(|(_, c)| {
            let is_end = *c == first && !escaped;
            escaped = *c == '\\' && !escaped;
            is_end
        });
        return end.map_or(rest.len(), |(at, c)| at + c.len_utf8());
    }
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if is_word(first) {
        return rest.find(|c| !is_word(c)).unwrap_or(rest.len());
    }
    first.len_utf8()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imports_are_found_in_code_alone() {
        let text = "local a = import 'a.libsonnet';\n// import 'comment'\nlocal b = importstr /* 'no' */ \"b.txt\";\n\
                    /* import 'c' */ { x: \"import 'd'\", y: @'import \"e\"', z: |||\n  import 'f'\n|||, important: 'g',\n\
                    q: 'it\\'s import \\\\', w: importbin 'ü.bin' } # import 'h'\n+ import 'last";
        let found: Vec<&str> = imports(text).into_iter().map(|(_, wanted)| wanted).collect();
        assert_eq!(found, ["a.libsonnet", "b.txt", "ü.bin"]);
        let (at, wanted) = imports(text)[1];
        assert_eq!(text.get(at..at + wanted.len()), Some("b.txt"));
    }
}
