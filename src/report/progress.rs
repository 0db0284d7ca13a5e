//! Events of a run as they happen, and its outcome.
//!
//! What lives here: one line for each event worth telling, and the summary of an outcome. What does not: the display
//! of what runs (`live`), and the choice between them (`cli`).

use std::borrow::Cow;
use std::io::Write;
use std::sync::{Mutex, PoisonError};

use console::Style;

use super::live::Live;
use super::plan_words::place as place_text;
use super::terminal::printable;
use super::{Look, count, pretty_json};
use crate::exec::{Event, Forecast, Outcome, Skip, Subject, Verb, Violation};
use crate::source::Mask;

/// How much is told while a plan runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Telling {
    /// Failures only.
    Quiet,
    /// A line for each event.
    Lines,
    /// Lines for what is done, above a live display of what runs.
    Live,
}

/// Tells of a run while it goes on; may be called from several threads at once.
pub struct Progress {
    telling: Telling,
    look: Look,
    sink: Mutex<Box<dyn Write + Send>>,
    live: Option<Live>,
    mask: Mask,
}

impl Progress {
    /// Tells to `sink`; a live display of `total` operations goes to the terminal of stderr.
    pub fn new(
        telling: Telling,
        look: Look,
        sink: Box<dyn Write + Send>,
        (total, forecast): (usize, &Forecast),
    ) -> Self {
        let live = (telling == Telling::Live).then(|| Live::new(total, forecast.clone()));
        Self { telling, look, sink: Mutex::new(sink), live, mask: Mask::default() }
    }

    /// Says what no line may show.
    #[must_use]
    pub fn hiding(self, mask: Mask) -> Self {
        Self { mask, ..self }
    }

    /// Tells of an event.
    pub fn tell(&self, event: &Event) {
        if let Some(live) = &self.live {
            live.update(&self.masked(event));
        }
        let quiet = self.telling == Telling::Quiet && !matches!(event, Event::Failed { .. } | Event::Ignored { .. });
        // What begins is in the live display already.
        let begun = self.live.is_some() && matches!(event, Event::Started(_) | Event::Waiting { .. });
        if quiet || begun {
            return;
        }
        if let Some(line) = event_line(event, self.look) {
            self.line(&line);
        }
    }

    /// Tells a line that belongs to no operation.
    pub fn note(&self, text: &str) {
        if self.telling != Telling::Quiet {
            self.line(&printable(text));
        }
    }

    /// Returns an event as the live display may show it.
    fn masked<'e>(&self, event: &'e Event) -> Cow<'e, Event> {
        if let Event::Waiting { subject, ready, want, why } = event
            && self.mask.finds(why)
        {
            let why = self.mask.hide(why).into_owned();
            return Cow::Owned(Event::Waiting { subject: subject.clone(), ready: *ready, want: *want, why });
        }
        Cow::Borrowed(event)
    }

    /// A reader that went away is no reason to stop a deployment: what cannot be told is not told.
    fn line(&self, line: &str) {
        let write = || {
            let mut sink = self.sink.lock().unwrap_or_else(PoisonError::into_inner);
            let _ = writeln!(sink, "{}", self.mask.hide(line));
            let _ = sink.flush();
        };
        match &self.live {
            Some(live) => live.suspend(write),
            None => write(),
        }
    }
}

/// What an operation is doing, has done, and could not do.
pub(super) fn words(verb: Verb) -> (&'static str, &'static str, &'static str) {
    match verb {
        Verb::Build => ("building", "built", "build"),
        Verb::Tag => ("tagging", "tagged", "tag"),
        Verb::Copy => ("copying", "copied", "copy"),
        Verb::Write => ("writing", "wrote", "write"),
        Verb::Delete => ("deleting", "deleted", "delete"),
        Verb::Open => ("opening", "opened", "open"),
        Verb::Wait => ("waiting for", "ready", "see ready"),
        Verb::Run => ("running", "ran", "run"),
        Verb::Pass => ("passing", "passed", "pass"),
        Verb::Record => ("recording", "recorded", "record"),
    }
}

/// Says an event in one line; the beginning of what takes no time is not worth one.
pub fn event_line(event: &Event, look: Look) -> Option<String> {
    let paint = |style: Style, text: &str| style.force_styling(look.color).apply_to(text).to_string();
    let name = |subject: &Subject| printable(&subject.name);
    Some(match event {
        Event::Started(subject) if subject.verb == Verb::Build => format!("building {}", name(subject)),
        Event::Storing { subject, bytes } if look.verbose => {
            format!("storing {}, {}", name(subject), bytes_text(*bytes))
        }
        Event::Reused(subject) | Event::Done { subject, .. } if subject.verb == Verb::Pass => return None,
        Event::Started(_) | Event::Storing { .. } => return None,
        Event::Reused(s) if s.verb == Verb::Build => format!("found {}, stored by somebody else", name(s)),
        Event::Reused(subject) => format!("found {} done", name(subject)),
        Event::Done { subject, ms } => {
            let done = paint(Style::new().green(), words(subject.verb).1);
            let takes = matches!(subject.verb, Verb::Build | Verb::Wait | Verb::Run);
            let time = if takes { format!(" in {}", seconds(*ms)) } else { String::new() };
            format!("{done} {}{time}", name(subject))
        }
        Event::Failed { subject, causes, place, introspectable } => {
            let failed = paint(Style::new().red().bold(), "failed");
            let head = if subject.verb == Verb::Wait {
                format!("{failed}: {} is not ready", name(subject))
            } else {
                format!("{failed} to {} {}", words(subject.verb).2, name(subject))
            };
            // A cause may have lines, those of a command.
            let lines = |cause: &String| cause.split('\n').map(printable).collect::<Vec<_>>().join("\n");
            let text = causes.iter().fold(head, |text, cause| format!("{text}: {}", lines(cause)));
            let (head, printed) =
                text.split_once('\n').map_or((text.as_str(), None), |(head, rest)| (head, Some(rest)));
            let at =
                place.as_ref().map(|p| format!("\n  {} {}", paint(Style::new().blue().bold(), "-->"), place_text(p)));
            let printed = printed.map(|lines| format!("\n{lines}")).unwrap_or_default();
            let hint = "\n  = hint: to look around in what it left, run the same with --introspect-error";
            format!("{head}{}{printed}{}", at.unwrap_or_default(), if *introspectable { hint } else { "" })
        }
        Event::Waiting { subject, ready, want, why } => {
            let dim = paint(Style::new().dim(), words(subject.verb).0);
            let of = match (ready, want) {
                (Some(ready), Some(want)) => format!("{ready} of {want} ready"),
                (_, _) => String::new(),
            };
            let parts: Vec<String> = [of, printable(why)].into_iter().filter(|p| !p.is_empty()).collect();
            let colon = if parts.is_empty() { "" } else { ": " };
            format!("{dim} {}{colon}{}", name(subject), parts.join(", "))
        }
        Event::Ignored { subject, causes } => {
            let warning = paint(Style::new().yellow().bold(), "warning");
            let lines: Vec<String> = causes.iter().flat_map(|c| c.split('\n')).map(printable).collect();
            format!("{warning}: {} is not ready, which is ignored: {}", name(subject), lines.join("\n"))
        }
        Event::Output { subject, line } => {
            let prefix = paint(Style::new().dim(), &format!("{} │", name(subject)));
            format!("{prefix} {}", printable(line))
        }
        Event::Skipped { subject, skip } => {
            let skipped = paint(Style::new().yellow(), "skipped");
            format!("{skipped} {}: {}", name(subject), because(skip))
        }
    })
}

/// Writes a duration; unit: milliseconds.
pub(super) fn seconds(ms: u64) -> String {
    format!("{}.{}s", ms / 1000, ms % 1000 / 100)
}

/// Writes a size in decimal units, as registries do.
pub(super) fn bytes_text(bytes: u64) -> String {
    let tenths = |unit: u64| format!("{}.{}", bytes / unit, bytes % unit * 10 / unit);
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{} kB", tenths(1_000)),
        1_000_000..1_000_000_000 => format!("{} MB", tenths(1_000_000)),
        _ => format!("{} GB", tenths(1_000_000_000)),
    }
}

fn because(skip: &Skip) -> String {
    match skip {
        Skip::Needs { operation } => format!("it needs {}, which is not done", printable(operation)),
        Skip::Stopped => "another operation failed".into(),
        Skip::Cancelled => "interrupted".into(),
        Skip::Late => "the time is over (--timeout)".into(),
        Skip::Unlocked => "the lock of the release was lost".into(),
        Skip::Cycle => "the operations it needs need it".into(),
    }
}

/// Sums an outcome up in one line.
pub fn outcome_line(outcome: &Outcome) -> String {
    let mut parts = vec![format!("{} done", count(outcome.done.len(), "operation"))];
    for (n, word) in
        [(outcome.failed.len(), "failed"), (outcome.skipped.len(), "skipped"), (outcome.ignored.len(), "ignored")]
    {
        if n > 0 {
            parts.push(format!("{n} {word}"));
        }
    }
    let verdict = if outcome.is_success() {
        "Applied"
    } else if outcome.is_cancelled() {
        "Interrupted"
    } else {
        "Failed"
    };
    format!("{verdict}: {}.", parts.join(", "))
}

fn texts(stale: &mut Violation) -> impl Iterator<Item = &mut String> {
    [&mut stale.expected, &mut stale.found].into_iter().chain(&mut stale.change)
}

/// Returns an outcome as JSON, its causes without what must not be shown.
pub fn outcome_json(outcome: &Outcome, mask: &Mask) -> String {
    pretty_json(&masked(outcome, mask))
}

/// Returns an outcome, its causes without what must not be shown.
pub(super) fn masked(outcome: &Outcome, mask: &Mask) -> Outcome {
    let mut outcome = outcome.clone();
    for failure in outcome.failed.iter_mut().chain(&mut outcome.ignored) {
        let stale = failure.stale.iter_mut().flat_map(texts);
        for text in failure.causes.iter_mut().chain(stale) {
            *text = mask.hide(text).into_owned();
        }
    }
    for text in outcome.freed.iter_mut().flat_map(|freed| &mut freed.causes) {
        *text = mask.hide(text).into_owned();
    }
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Place;
    use std::sync::Arc;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn events() -> Vec<Event> {
        let subject = |verb, name: &str| Subject { operation: format!("id:{name}"), verb, name: name.to_owned() };
        let build = subject(Verb::Build, "backend/dockerfile");
        let web = subject(Verb::Build, "web/dockerfile");
        let write = subject(Verb::Write, "shop/Deployment/web");
        vec![
            Event::Started(build.clone()),
            Event::Done { subject: build, ms: 1_234 },
            Event::Started(web.clone()),
            Event::Failed {
                subject: web,
                causes: vec!["`RUN make` failed with exit status 2\n  │ oh".into()],
                place: Some(Place { line: Some(7), ..Place::file("Dockerfile") }),
                introspectable: true,
            },
            Event::Reused(subject(Verb::Build, "worker/dockerfile")),
            Event::Started(write.clone()),
            Event::Done { subject: write, ms: 3 },
            Event::Skipped {
                subject: subject(Verb::Record, "shop revision 2"),
                skip: Skip::Needs { operation: "id:web/dockerfile".into() },
            },
        ]
    }

    fn told(telling: Telling) -> String {
        let sink = Sink::default();
        let progress = Progress::new(telling, Look::plain(), Box::new(sink.clone()), (8, &Forecast::default()));
        for event in &events() {
            progress.tell(event);
        }
        let bytes = sink.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn every_event_worth_telling_is_a_line() {
        super::super::golden::check("events.txt", &told(Telling::Lines));
    }

    #[test]
    fn sizes_have_decimal_units() {
        let sizes = [0, 999, 1_000, 12_345_678, 2_000_000_000].map(bytes_text);
        assert_eq!(sizes, ["0 B", "999 B", "1.0 kB", "12.3 MB", "2.0 GB"]);
        let subject = Subject { operation: "b".into(), verb: Verb::Build, name: "web/dockerfile".into() };
        let storing = Event::Storing { subject, bytes: 1_500 };
        assert_eq!(event_line(&storing, Look::plain()), None);
        let verbose = Look { verbose: true, ..Look::plain() };
        assert_eq!(event_line(&storing, verbose).as_deref(), Some("storing web/dockerfile, 1.5 kB"));
    }

    #[test]
    fn quiet_tells_failures_only() {
        assert_eq!(
            told(Telling::Quiet),
            "failed to build web/dockerfile: `RUN make` failed with exit status 2\n  --> Dockerfile:7\n  │ oh\n  = \
             hint: to look around in what it left, run the same with --introspect-error\n"
        );
    }

    #[test]
    fn nothing_that_is_hidden_stands_in_an_outcome() {
        let subject = Subject { operation: "b".into(), verb: Verb::Wait, name: "b".into() };
        let said = || "it says hunter2-x".to_owned();
        let stale = Violation {
            operation: "b".into(),
            subject: "b".into(),
            expected: said(),
            found: said(),
            change: Some(said()),
        };
        let failure =
            |stale| crate::exec::Failure { subject: subject.clone(), causes: vec![said()], place: None, stale };
        let outcome =
            Outcome { failed: vec![failure(Some(stale))], ignored: vec![failure(None)], ..Outcome::default() };
        let told = outcome_json(&outcome, &Mask::default().with(["hunter2-x"]));
        assert_eq!((told.matches("it says (secret)").count(), told.contains("hunter2")), (5, false), "{told}");
    }

    #[test]
    fn an_outcome_is_one_line() {
        let done = Outcome { done: vec!["a".into()], ..Outcome::default() };
        assert_eq!(outcome_line(&done), "Applied: 1 operation done.");
        let subject = Subject { operation: "b".into(), verb: Verb::Tag, name: "b".into() };
        let skipped = crate::exec::Skipped { subject, skip: Skip::Cancelled };
        let outcome = Outcome { skipped: vec![skipped], ..done };
        assert_eq!(outcome_line(&outcome), "Interrupted: 1 operation done, 1 skipped.");
        assert!(outcome_json(&outcome, &Mask::default()).contains("\"because\": \"cancelled\""));
    }
}
