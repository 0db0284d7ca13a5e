//! Where each line of rendered manifests comes from, as text, as JSON and as one line of counts.
//!
//! The one idea: text shows the manifest as it is, and its origins in a margin; where the margin does not fit, below
//! the line.

use schemars::JsonSchema;
use serde::Serialize;

use super::{Look, pretty_json};
use crate::chart::{LineOrigin, Manifest, ValueOrigin};
use crate::source::{Place, Sources, Span};

/// The widest line that still pushes the margin to the right. Unit: columns.
const WIDEST: usize = 64;

/// Where one line of the output comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OriginLine {
    /// The line of what is printed without `--origins`, from 1.
    pub line: usize,
    /// Its text.
    pub text: String,
    /// The file that made the manifest, as Helm names it.
    pub source: String,
    /// The place in a template that wrote it.
    pub template: Option<Place>,
    /// The `include`, `template` and `tpl` calls around that place, innermost first.
    pub calls: Vec<Place>,
    /// The values that stand in it.
    pub values: Vec<OriginValue>,
}

/// A value that stands in a line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OriginValue {
    /// Its path; of a call the name of the function.
    pub path: String,
    /// Where it was written; nothing for service values.
    pub place: Option<Place>,
    /// `text`: the line shows it; `derived`: the line shows something made of it; `varying`: no value, but a call
    /// whose result differs from run to run.
    pub how: &'static str,
}

/// Counts of lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OriginCounts {
    /// Lines that hold a scalar: not blank, no comment, not only a key.
    pub scalars: usize,
    /// Of them, those whose template line is known.
    pub mapped: usize,
    /// Of them, those in which a value stands.
    pub values: usize,
    /// Of these, those whose line in a file or argument is known; the others are service values.
    pub placed: usize,
}

impl OriginCounts {
    /// Counts the lines of manifests.
    pub fn of(manifests: &[&Manifest]) -> Self {
        let mut counts = Self::default();
        for (text, origin) in manifests.iter().flat_map(|m| m.text.split('\n').zip(&m.lines)) {
            if !is_scalar_line(text) {
                continue;
            }
            counts.scalars += 1;
            counts.mapped += usize::from(origin.span.is_some_and(|span| span.start < span.end));
            let mut values = origin.values.iter().filter(|v| !v.varies).peekable();
            counts.values += usize::from(values.peek().is_some());
            counts.placed += usize::from(values.any(|v| v.span.is_some()));
        }
        counts
    }
}

impl std::fmt::Display for OriginCounts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { scalars, mapped, values, placed } = self;
        let percent = if *scalars == 0 { 100.0 } else { *mapped as f64 * 100.0 / *scalars as f64 };
        write!(f, "origins: {mapped} of {scalars} scalar lines ({percent:.1} %) mapped to a template line; ")?;
        write!(f, "{values} show values, {placed} of them mapped to a line of values")
    }
}

fn is_scalar_line(line: &str) -> bool {
    let text = line.trim().trim_start_matches("- ").trim();
    !(text.is_empty() || text.starts_with('#') || text.ends_with(':') || text == "-")
}

/// Returns every line of manifests with its origin; `before` lines are printed before the first manifest.
pub fn origin_lines(manifests: &[&Manifest], before: usize, sources: &Sources) -> Vec<OriginLine> {
    let mut line = before;
    let mut lines = Vec::new();
    for manifest in manifests {
        // `---` and `# Source:`
        line += 2;
        let nothing = LineOrigin::default();
        let origins = manifest.lines.iter().chain(std::iter::repeat(&nothing));
        for (text, origin) in manifest.text.split('\n').zip(origins) {
            line += 1;
            lines.push(OriginLine {
                line,
                text: text.to_owned(),
                source: manifest.source.clone(),
                template: origin.span.map(|span| first_line(span, sources)),
                calls: origin.calls.iter().map(|span| first_line(*span, sources)).collect(),
                values: origin.values.iter().map(|value| value_of(value, sources)).collect(),
            });
        }
    }
    lines
}

fn first_line(span: Span, sources: &Sources) -> Place {
    Place { end_line: None, ..sources.place(span) }
}

fn value_of(value: &ValueOrigin, sources: &Sources) -> OriginValue {
    let how = match (value.varies, value.derived) {
        (true, _) => "varying",
        (false, true) => "derived",
        (false, false) => "text",
    };
    OriginValue { path: value.path.clone(), place: value.span.map(|span| first_line(span, sources)), how }
}

/// Returns the lines as a JSON array.
pub fn origins_json(lines: &[OriginLine]) -> String {
    pretty_json(&lines)
}

/// Draws manifests with the origin of each line in a margin on the right; what does not fit stands below its line.
pub fn origins_text(lines: &[OriginLine], look: Look) -> String {
    let mut out = String::new();
    let mut rest = lines;
    while let Some(first) = rest.first() {
        // a manifest ends where line numbers jump
        let jump = rest.windows(2).position(|pair| matches!(pair, [a, b] if b.line != a.line + 1));
        let (manifest, others) = rest.split_at(jump.map_or(rest.len(), |at| at + 1));
        rest = others;
        out += &format!("---\n# Source: {}\n", first.source);
        let widest = manifest.iter().map(|l| l.text.chars().count()).filter(|n| *n <= WIDEST).max().unwrap_or(0);
        let margin = widest.min(look.width / 2) + 2;
        manifest.iter().for_each(|line| draw(&mut out, line, margin, look.width));
    }
    out
}

fn draw(out: &mut String, line: &OriginLine, margin: usize, width: usize) {
    out.push_str(&line.text);
    let words = words(line);
    let length = words.iter().map(|w| w.chars().count() + 1).sum::<usize>() + 1;
    let used = line.text.chars().count();
    if words.is_empty() || line.text.trim().is_empty() {
        out.push('\n');
        return;
    }
    if used + 2 <= margin && margin + length <= width {
        out.extend(std::iter::repeat_n(' ', margin - used));
        *out += &format!("# {}\n", words.join(" "));
        return;
    }
    let indent = "    # ";
    let mut column = width;
    for word in &words {
        let length = word.chars().count();
        if column + 1 + length > width {
            *out += &format!("\n{indent}");
            column = indent.len();
        } else {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += length;
    }
    out.push('\n');
}

/// `templates/web.yaml:3`, then `< ` each caller, then `= ` each value (`~ ` what was made of one).
fn words(line: &OriginLine) -> Vec<String> {
    let mut words: Vec<String> = line.template.iter().map(Place::to_string).collect();
    words.extend(line.calls.iter().map(|call| format!("< {call}")));
    for value in &line.values {
        let sign = match value.how {
            "varying" => "!",
            "derived" => "~",
            _ => "=",
        };
        words.push(match &value.place {
            Some(place) => format!("{sign} {place} ({})", value.path),
            None => format!("{sign} service value ({})", value.path),
        });
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(number: usize, text: &str, line: u32) -> OriginLine {
        let place = |file: &str, line| Place { line: Some(line), ..Place::file(file) };
        OriginLine {
            line: number,
            text: text.into(),
            source: "c/templates/a.yaml".into(),
            template: Some(place("c/templates/a.yaml", line)),
            calls: vec![place("c/templates/b.yaml", 9)],
            values: vec![OriginValue { path: "web.port".into(), place: Some(place("values.yaml", 4)), how: "text" }],
        }
    }

    #[test]
    fn the_margin_is_aligned_and_moves_below_where_it_does_not_fit() {
        let lines = [line(3, "kind: Pod", 1), line(4, "port: 80", 2), line(7, "kind: Job", 1)];
        let wide = origins_text(&lines, Look::plain());
        let expected = "---\n# Source: c/templates/a.yaml\n\
             kind: Pod  # c/templates/a.yaml:1 < c/templates/b.yaml:9 = values.yaml:4 (web.port)\n\
             port: 80   # c/templates/a.yaml:2 < c/templates/b.yaml:9 = values.yaml:4 (web.port)\n---\n";
        assert!(wide.starts_with(expected), "{wide}");
        let narrow = origins_text(&lines, Look { width: 50, ..Look::plain() });
        assert!(narrow.lines().all(|l| l.chars().count() <= 50), "{narrow}");
        assert!(narrow.contains("kind: Pod\n    # c/templates/a.yaml:1 < c/templates/b.yaml:9\n    # = "), "{narrow}");
    }

    #[test]
    fn only_lines_with_a_scalar_count() {
        let count = |text: &str| text.lines().filter(|l| is_scalar_line(l)).count();
        assert_eq!(count("a:\n  - b:\n  - c\n# d\n\n  e: 1\n"), 2);
    }
}
