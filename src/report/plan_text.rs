//! The plan for a reviewer at a terminal or in a log.
//!
//! Order: verdict, risks, images, resources, drift, what is kept, cleanup, summary, what to run next. Everything reads without
//! colour; values are cut to the width, reasons never.

use std::borrow::Cow;

use console::{Style, measure_text_width, truncate_str};

use super::plan_words::{FieldView, ImageView, Line, ResourceView, View};
use super::{Look, count};
use crate::plan::Plan;

/// Fields of a new resource, and causes, that are shown unless all are asked for.
const SHOWN: usize = 12;

/// Draws a plan. `next` is a command that would carry it out.
pub fn plan_text(plan: &Plan, look: Look, next: Option<&str>) -> String {
    let view = View::of(plan, look.verbose);
    let mut page = Page { out: String::new(), look };
    page.verdict(&view);
    page.risks(&view);
    page.images(&view, plan.summary.images_reuse);
    page.resources(&view);
    page.hooks(&view);
    page.drift(&view);
    page.by_hand(&view);
    page.cleanup(&view);
    page.out += &format!("\n{}\n", page.paint(Style::new().bold(), &view.summary));
    if let (Some(command), false) = (next, plan.operations.is_empty()) {
        page.out += &format!("\nTo carry it out, run:\n  {command}\n");
    }
    page.out
}

struct Page {
    out: String,
    look: Look,
}

impl Page {
    fn paint(&self, style: Style, text: &str) -> String {
        if text.is_empty() {
            return String::new();
        }
        style.force_styling(self.look.color).apply_to(text).to_string()
    }

    fn line(&mut self, indent: usize, text: &str) {
        self.out += &format!("{:indent$}{text}\n", "");
    }

    fn heading(&mut self, text: &str) {
        let text = self.paint(Style::new().bold(), text);
        self.out += &format!("\n{text}\n");
    }

    fn verdict(&mut self, view: &View) {
        let style = if view.changes { Style::new().bold() } else { Style::new().green().bold() };
        let verdict = self.paint(style, &view.verdict);
        self.line(0, &verdict);
        self.wrapped(&view.context);
    }

    /// Facts, separated by commas, wrapped to the width.
    fn wrapped(&mut self, facts: &[String]) {
        let mut lines: Vec<String> = Vec::new();
        for (i, fact) in facts.iter().enumerate() {
            let fact = if i + 1 < facts.len() { format!("{fact},") } else { fact.clone() };
            match lines.last_mut() {
                Some(line) if measure_text_width(line) + 1 + measure_text_width(&fact) <= self.look.width => {
                    *line += &format!(" {fact}");
                }
                Some(_) | None => lines.push(fact),
            }
        }
        for line in lines {
            let line = self.paint(Style::new().dim(), &line);
            self.line(0, &line);
        }
    }

    fn risks(&mut self, view: &View) {
        if view.risks.is_empty() {
            return;
        }
        self.heading("Risks");
        for risk in &view.risks {
            let style = match risk.level {
                "danger" => Style::new().red().bold(),
                "warning" => Style::new().yellow(),
                _ => Style::new().cyan(),
            };
            let head = self.paint(style, &format!("{:<7} {}", risk.level, risk.code));
            self.line(2, &format!("{head}  {}", risk.address));
            self.line(10, &risk.message);
        }
    }

    fn images(&mut self, view: &View, reused: usize) {
        let hidden = reused.saturating_sub(view.images.iter().filter(|i| !i.build).count());
        if view.images.is_empty() && hidden == 0 {
            return;
        }
        self.heading("Images");
        let widest = view.images.iter().map(|i| measure_text_width(&i.name)).max().unwrap_or(0).min(40);
        for image in &view.images {
            self.image(image, widest);
        }
        if hidden > 0 {
            self.kept(&format!("{} reused as stored", count(hidden, "image")));
        }
    }

    fn image(&mut self, image: &ImageView, widest: usize) {
        let (style, word) =
            if image.build { (Style::new().yellow(), "build") } else { (Style::new().green(), "reuse") };
        let word = self.paint(style, word);
        let place = self.paint(Style::new().dim(), &image.place);
        self.line(2, &format!("{word} {:<widest$}  {}  {place}", image.name, image.tags));
        self.reasons(&image.reasons, 8);
    }

    fn reasons(&mut self, reasons: &[Line], indent: usize) {
        let shown = if self.look.verbose { reasons.len() } else { SHOWN };
        for reason in reasons.iter().take(shown) {
            self.line(indent + 2 * reason.depth, &reason.text);
        }
        self.more(reasons.len().saturating_sub(shown), "reason", indent);
    }

    fn more(&mut self, hidden: usize, noun: &str, indent: usize) {
        if hidden > 0 {
            let plural = if hidden == 1 { "" } else { "s" };
            self.line(indent, &format!("and {hidden} more {noun}{plural} (--log-verbose lists all)"));
        }
    }

    fn kept(&mut self, text: &str) {
        let text = self.paint(Style::new().dim(), &format!("= {text}"));
        self.line(2, &text);
    }

    fn resources(&mut self, view: &View) {
        if view.resources.is_empty() && view.unchanged == 0 {
            return;
        }
        self.heading("Resources");
        for resource in &view.resources {
            self.resource(resource);
        }
        if view.unchanged > 0 {
            self.kept(&format!("{} unchanged", count(view.unchanged, "resource")));
        }
    }

    fn resource(&mut self, r: &ResourceView) {
        let head = self.paint(sign_style(r.symbol), &format!("{:<3} {}", r.symbol, r.address));
        let gap = if r.source.is_empty() { "" } else { "  " };
        let source = self.paint(Style::new().dim(), &r.source);
        self.line(2, &format!("{head}{gap}{source}"));
        let shown = if self.look.verbose || r.action != "create" { r.fields.len() } else { SHOWN };
        for field in r.fields.iter().take(shown) {
            self.field(field);
        }
        self.more(r.fields.len().saturating_sub(shown), "field", 6);
        if let Some(restart) = &r.restart {
            let restart = self.paint(Style::new().yellow(), restart);
            self.line(6, &restart);
        }
        self.because(&r.reasons);
    }

    fn because(&mut self, reasons: &[Line]) {
        let Some((first, rest)) = reasons.split_first() else { return };
        self.line(6, &format!("because {}", first.text));
        let indented: Vec<Line> = rest.iter().map(|l| Line { depth: l.depth, text: l.text.clone() }).collect();
        self.reasons(&indented, 14);
    }

    /// One line where it fits; else the path, and each value on a line of its own.
    fn field(&mut self, field: &FieldView) {
        let style = sign_style(&field.sign.to_string());
        let note = if field.replaces { "  forces replacement" } else { "" };
        let sign = self.paint(style, &field.sign.to_string());
        let room = self.look.width.saturating_sub(8).max(20);
        if !field.diff.is_empty() {
            self.line(6, &format!("{sign} {}:{note}", field.path));
            for line in &field.diff {
                self.diff_line(line, room);
            }
            return;
        }
        let values = match (&field.before, &field.after) {
            (Some(before), Some(after)) => format!("{before} -> {after}"),
            (Some(one), None) | (None, Some(one)) => one.clone(),
            (None, None) => String::new(),
        };
        let line = format!("{}: {values}{note}", field.path);
        if measure_text_width(&line) <= room {
            return self.line(6, &format!("{sign} {line}"));
        }
        self.line(6, &format!("{sign} {}:{note}", field.path));
        let room = room.saturating_sub(5);
        match (&field.before, &field.after) {
            (Some(before), Some(after)) => {
                let (before, after) = cut_pair(before, after, room);
                self.line(13, &before);
                self.line(10, &format!("-> {after}"));
            }
            (Some(one), None) | (None, Some(one)) => self.line(13, &cut(one, room)),
            (None, None) => {}
        }
    }

    fn diff_line(&mut self, line: &str, room: usize) {
        let style = sign_style(line.get(..1).unwrap_or(" "));
        let line = self.paint(style, &cut(line, room.saturating_sub(2)));
        self.line(10, line.trim_end());
    }

    fn hooks(&mut self, view: &View) {
        if view.hooks.is_empty() {
            return;
        }
        self.heading("Hooks");
        for hook in &view.hooks {
            let head = self.paint(sign_style("+"), &format!("run {}", hook.address));
            let source = self.paint(Style::new().dim(), &hook.source);
            self.line(2, format!("{head}  {}  {source}", hook.event).trim_end());
        }
    }

    fn drift(&mut self, view: &View) {
        if view.drift.is_empty() {
            return;
        }
        self.heading("Drift: somebody else changed these, apply writes over them");
        for drift in &view.drift {
            self.line(2, &format!("~   {}", drift.address));
            for field in &drift.fields {
                self.field(field);
            }
            for by in &drift.by {
                self.line(6, by);
            }
        }
    }

    fn by_hand(&mut self, view: &View) {
        if view.by_hand.is_empty() {
            return;
        }
        self.heading("Kept: somebody changed these by hand, and apply leaves them");
        for kept in &view.by_hand {
            self.line(2, &format!("=   {}", kept.address));
            let room = self.look.width.saturating_sub(6).max(20);
            for field in &kept.fields {
                self.line(6, &cut(field, room));
            }
            for by in &kept.by {
                self.line(6, by);
            }
        }
    }

    fn cleanup(&mut self, view: &View) {
        if view.cleanup.is_empty() {
            return;
        }
        self.heading("Cleanup");
        for item in &view.cleanup {
            let tag = self.paint(sign_style("-"), &format!("-   {}", item.tag));
            self.line(2, &format!("{tag}  {}", item.reason));
        }
    }
}

fn cut(text: &str, width: usize) -> Cow<'_, str> {
    truncate_str(text, width, "…")
}

/// Cuts two values so that the place where they begin to differ stays in sight.
fn cut_pair(before: &str, after: &str, width: usize) -> (String, String) {
    const LEAD: usize = 10;
    if measure_text_width(before).max(measure_text_width(after)) <= width {
        return (before.to_owned(), after.to_owned());
    }
    let same = before.chars().zip(after.chars()).take_while(|(a, b)| a == b).count();
    let skip = if same + LEAD > width { same.saturating_sub(LEAD) } else { 0 };
    let part = |text: &str| {
        let rest: String = text.chars().skip(skip).collect();
        cut(&if skip > 0 { format!("…{rest}") } else { rest }, width).into_owned()
    };
    (part(before), part(after))
}

fn sign_style(sign: &str) -> Style {
    match sign {
        "+" => Style::new().green(),
        "-" => Style::new().red(),
        "~" => Style::new().yellow(),
        "-/+" => Style::new().red().bold(),
        _ => Style::new().dim(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::super::golden::check;
    use super::*;

    #[test]
    fn a_plan_reads_in_the_order_of_what_must_be_decided() {
        let text = plan_text(&fixture::shop(), Look::plain(), Some("stagewright apply plan.json"));
        check("plan.txt", &text);
    }

    #[test]
    fn a_narrow_terminal_cuts_values_but_no_reason() {
        let narrow = Look { width: 60, ..Look::plain() };
        let text = plan_text(&fixture::shop(), narrow, None);
        check("plan-narrow.txt", &text);
        let reasons = View::of(&fixture::shop(), false).resources.into_iter().flat_map(|r| r.reasons);
        for reason in reasons {
            assert!(text.contains(&reason.text), "{} is cut", reason.text);
        }
    }

    #[test]
    fn everything_that_stays_is_listed_on_request() {
        let verbose = Look { verbose: true, ..Look::plain() };
        check("plan-verbose.txt", &plan_text(&fixture::shop(), verbose, None));
    }

    #[test]
    fn a_plan_without_changes_says_so_first() {
        check("plan-empty.txt", &plan_text(&fixture::unchanged(), Look::plain(), Some("stagewright apply")));
        let mut record = fixture::unchanged();
        record.operations = fixture::shop().operations;
        assert!(plan_text(&record, Look::plain(), None).starts_with("No resource changes. Only the release record"));
    }

    #[test]
    fn colour_adds_nothing_but_colour() {
        let colored = plan_text(&fixture::shop(), Look { color: true, ..Look::plain() }, None);
        let plain = plan_text(&fixture::shop(), Look::plain(), None);
        assert_ne!(colored, plain);
        assert_eq!(console::strip_ansi_codes(&colored), plain);
    }

    #[test]
    fn a_secret_is_in_no_report() {
        let plan = fixture::shop();
        let verbose = Look { verbose: true, ..Look::plain() };
        let reports = [
            plan_text(&plan, verbose, None),
            super::super::plan_json(&plan),
            super::super::plan_markdown(&plan),
            super::super::plan_html(&plan),
            super::super::plan_comment(&plan, super::super::Forge::GitHub),
        ];
        for report in reports {
            assert!(!report.contains("hunter2"), "{report}");
            assert!(report.contains("sensitive"), "{report}");
        }
    }
}
