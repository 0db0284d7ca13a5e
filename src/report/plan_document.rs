//! The plan as Markdown, as a comment on a pull or merge request, and as one HTML file.
//!
//! The templates are in `templates/`; what they say is [`View`]. A comment has a size limit: details are left out
//! from the end, risks and tables never.

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Serde, Value};
use minijinja::{AutoEscape, Environment, UndefinedBehavior, context};
use serde::Serialize;

use super::plan_words::{FieldView, View};
use crate::plan::Plan;

const MARKDOWN: &str = include_str!("templates/plan.md.j2");
const MARKDOWN_NAME: &str = "plan.md";
const HTML_NAME: &str = "plan.html";
const HTML: &str = include_str!("templates/plan.html.j2");

/// Where a comment is posted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forge {
    /// GitHub: 65,536 characters.
    GitHub,
    /// GitLab: 1,000,000 characters.
    GitLab,
}

impl Forge {
    /// Unit: bytes; below the documented limit, which counts characters.
    fn limit(self) -> usize {
        match self {
            Self::GitHub => 60_000,
            Self::GitLab => 900_000,
        }
    }
}

/// Returns the plan as Markdown.
pub fn plan_markdown(plan: &Plan) -> String {
    let page = Page::of(plan);
    page.render(MARKDOWN_NAME, MARKDOWN, page.details.len())
}

/// Returns the plan as a comment that fits the forge; a hidden marker in it names project, environment and release.
pub fn plan_comment(plan: &Plan, forge: Forge) -> String {
    let page = Page::of(plan);
    let frame = page.render(MARKDOWN_NAME, MARKDOWN, 0).len();
    let mut room = forge.limit().saturating_sub(frame);
    let fits = page.details.iter().take_while(|detail| {
        let fits = detail.most() <= room;
        room = room.saturating_sub(detail.most());
        fits
    });
    let fits = fits.count();
    capped(page.render(MARKDOWN_NAME, MARKDOWN, fits), forge.limit())
}

/// Returns the plan as one HTML file without references to others.
pub fn plan_html(plan: &Plan) -> String {
    Page::of(plan).render(HTML_NAME, HTML, 0)
}

/// The last resort, when tables alone are too long: whole lines, and a word about it.
fn capped(mut text: String, limit: usize) -> String {
    const NOTE: usize = 100;
    if text.len() > limit {
        let at = text.floor_char_boundary(limit.saturating_sub(NOTE));
        let end = text.get(..at).and_then(|t| t.rfind('\n')).unwrap_or(at);
        let left = text.get(end..).map_or(0, |rest| rest.lines().filter(|line| !line.trim().is_empty()).count());
        text.truncate(end);
        text += &format!("\n\nThe plan is too long for a comment: its last {left} lines are left out.\n");
    }
    text
}

/// What the templates speak of.
struct Page {
    view: Value,
    details: Vec<Detail>,
    marker: String,
}

/// A resource with its fields as the text of a diff.
#[derive(Serialize)]
struct Detail {
    address: String,
    diff: String,
    fence: String,
}

impl Detail {
    /// What it takes at most, with the markup around it. Unit: bytes.
    fn most(&self) -> usize {
        const MARKUP: usize = 100;
        // An escaped character takes at most six bytes.
        6 * self.address.len() + self.diff.len() + 2 * self.fence.len() + MARKUP
    }
}

impl Page {
    fn of(plan: &Plan) -> Self {
        let view = View::of(plan, false);
        let details = view.resources.iter().filter(|r| !r.fields.is_empty()).map(detail).collect();
        let name = |part: &Option<String>| part.clone().unwrap_or_else(|| "-".into());
        let marker = format!("{}/{}/{}", plan.project, name(&plan.inputs.env), name(&plan.inputs.release));
        Self { view: Value::from(Serde(&view)), details, marker: marker.replace("--", "- -") }
    }

    fn render(&self, name: &str, template: &str, details: usize) -> String {
        let diffs = Value::from(Serde(self.details.iter().take(details).collect::<Vec<_>>()));
        let hidden = self.details.len().saturating_sub(details);
        let (view, marker) = (self.view.clone(), self.marker.clone());
        environment()
            .render_named_str(name, template, context! { plan => view, diffs, hidden, marker })
            .expect("the templates are ours and speak of the view's fields")
    }
}

fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).keep_trailing_newline(true).build();
    environment.set_syntax(syntax.expect("the delimiters are the usual ones"));
    environment.set_auto_escape_callback(|name| if name == HTML_NAME { AutoEscape::Html } else { AutoEscape::None });
    environment.add_filter("md", |text: String| escape_markdown(&text));
    environment.add_filter("code", |text: String| code_span(&text));
    environment
}

fn detail(resource: &super::plan_words::ResourceView) -> Detail {
    let diff: String = resource.fields.iter().map(field_diff).collect();
    let longest = diff.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    Detail { address: resource.address.clone(), diff, fence: "`".repeat(longest.max(2) + 1) }
}

fn field_diff(field: &FieldView) -> String {
    let note = if field.replaces { "  # forces replacement" } else { "" };
    let path = &field.path;
    if !field.diff.is_empty() {
        let lines: String = field.diff.iter().map(|l| format!("{l}\n")).collect();
        return format!("@@ {path} @@{note}\n{lines}");
    }
    let line = |sign: char, value: &Option<String>| {
        value.as_ref().map(|v| format!("{sign} {path}: {v}{note}\n")).unwrap_or_default()
    };
    match field.sign {
        '~' if field.before.is_none() => line('!', &field.after),
        '-' if field.before.is_none() => line('-', &field.after),
        _ => line('-', &field.before) + &line('+', &field.after),
    }
}

/// Nothing in a user's text acts as markup, mentions somebody or links an issue.
fn escape_markdown(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' => out.extend(['\\', c]),
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '&' => out += "&amp;",
            // A zero-width space after it breaks the reference and stays invisible.
            '@' | '#' | '!' => out.extend([c, '\u{200b}']),
            '\n' | '\r' => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

fn code_span(text: &str) -> String {
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest + 1);
    let pad = if longest > 0 { " " } else { "" };
    format!("{fence}{pad}{}{pad}{fence}", text.replace('|', "\\|").replace(['\n', '\r'], " "))
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::super::golden::check;
    use super::*;

    #[test]
    fn a_plan_is_a_page_of_markdown() {
        check("plan.md", &plan_markdown(&fixture::shop()));
        check("plan-empty.md", &plan_markdown(&fixture::unchanged()));
    }

    #[test]
    fn a_plan_is_one_html_file() {
        check("plan.html", &plan_html(&fixture::shop()));
    }

    #[test]
    fn a_comment_fits_the_forge_and_closes_what_it_opens() {
        let mut plan = fixture::shop();
        let long = plan.resources[0].clone();
        for n in 0..2_000 {
            let mut copy = long.clone();
            copy.name = format!("db-{n}");
            plan.resources.push(copy);
        }
        for forge in [Forge::GitHub, Forge::GitLab] {
            let comment = plan_comment(&plan, forge);
            assert!(comment.len() <= forge.limit(), "{}", comment.len());
            assert_eq!(comment.matches("<details>").count(), comment.matches("</details>").count());
        }
        assert!(
            plan_comment(&fixture::shop(), Forge::GitHub).contains("<!-- stagewright-plan: shop/production/shop -->")
        );
    }

    /// Returns what a comment opens and does not close: fences and foldings, line by line.
    fn left_open(comment: &str) -> Vec<String> {
        let mut open: Vec<String> = Vec::new();
        for line in comment.lines() {
            let ticks: String = line.chars().take_while(|c| *c == '`').collect();
            let fence = open.last().filter(|o| o.starts_with('`')).cloned();
            match fence {
                Some(fence) => drop((line == fence).then(|| open.pop())),
                None if ticks.len() > 2 => open.push(ticks),
                None if line == "<details>" => open.push(line.to_owned()),
                None if line == "</details>" => drop(open.pop()),
                None => {}
            }
        }
        open
    }

    #[test]
    fn s82_a_plan_of_400_resources_is_a_comment_that_says_how_much_was_cut() {
        let mut plan = fixture::shop();
        let (long, risk) = (plan.resources[0].clone(), plan.risks[0].clone());
        let before = plan_markdown(&plan).matches("<details>").count();
        for n in 0..400 {
            let mut copy = long.clone();
            copy.name = format!("db-{n}");
            copy.reasons.clear();
            copy.restart = None;
            copy.fields[0].after = format!("{n}\n```\n").repeat(30).into();
            plan.resources.push(copy);
            if n % 20 == 0 {
                let message = format!("loses volume {n}");
                plan.risks.push(crate::plan::Risk { message, level: crate::plan::RiskLevel::Danger, ..risk.clone() });
            }
        }
        let comment = plan_comment(&plan, Forge::GitHub);
        assert!(comment.len() <= 60_000, "{}", comment.len());
        assert_eq!(left_open(&comment), [""; 0]);
        assert!((0..400).step_by(20).all(|n| comment.contains(&format!("loses volume {n}"))), "dangers stay");
        let rows = comment.lines().filter(|line| line.starts_with('|') && line.contains("db-")).count();
        assert!(rows >= 400, "the table stays: {rows}");
        let shown = comment.matches("<details>").count();
        let cut = before + 400 - shown;
        let told = format!("The changes of {cut} more resources are too long for a comment.");
        assert!(shown > 0 && cut > 0 && comment.contains(&told), "{shown} shown, {cut} cut");
        // Where tables alone are too long, lines are cut, and counted.
        for n in 400..2_000 {
            plan.resources.push(crate::plan::ResourcePlan { name: format!("db-{n}"), ..long.clone() });
        }
        let (whole, comment) = (Page::of(&plan).render(MARKDOWN_NAME, MARKDOWN, 0), plan_comment(&plan, Forge::GitHub));
        let lines = |text: &str| text.lines().filter(|line| !line.trim().is_empty()).count();
        let cut = lines(&whole) - (lines(&comment) - 1);
        assert!(comment.ends_with(&format!("its last {cut} lines are left out.\n")) && cut > 100, "{cut}");
        assert_eq!((left_open(&comment), comment.len() <= 60_000), (Vec::new(), true));
    }

    #[test]
    fn s83_markup_of_a_resource_stays_within_its_fence() {
        let mut plan = fixture::shop();
        let text = "```\n</details>\n````sh\n@you #1\n";
        let resource = &mut plan.resources[0];
        resource.fields[0].after = text.into();
        resource.name = "a</code>`b".into();
        let comment = plan_comment(&plan, Forge::GitHub);
        let opened = comment.lines().find(|line| line.starts_with("`````") && line.ends_with("diff")).unwrap();
        let fence = opened.trim_end_matches("diff");
        let within = comment.split(opened).nth(1).unwrap().split(&format!("{fence}\n")).next().unwrap();
        assert!(within.contains("</details>") && within.contains("````sh"), "{comment}");
        let outside = comment.replace(within, "");
        assert_eq!(outside.matches("<details>").count(), outside.matches("</details>").count(), "{comment}");
        assert!(!outside.contains("@you"));
    }

    #[test]
    fn text_in_a_comment_is_no_markup() {
        assert_eq!(escape_markdown("@you <b>*#1"), "@\u{200b}you &lt;b&gt;\\*#\u{200b}1");
        assert_eq!(code_span("a`b"), "`` a`b ``");
    }
}
