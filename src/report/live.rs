//! The live display of a run on a terminal: a line that sums up, and below it what runs.
//!
//! The one idea: everything shown is computed from a tally when it is drawn, so that times go on between events.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use super::progress::{bytes_text, seconds, words};
use super::terminal::printable;
use crate::exec::{Event, Forecast, Subject, Verb};

/// How often times are drawn anew.
const TICK: Duration = Duration::from_millis(100);

/// The live display.
pub struct Live {
    multi: MultiProgress,
    head: ProgressBar,
    tally: Arc<Mutex<Tally>>,
    bars: Mutex<BTreeMap<String, ProgressBar>>,
}

/// What became of the operations so far.
struct Tally {
    forecast: Forecast,
    total: usize,
    /// Operations that are over, in whatever way.
    over: BTreeMap<String, Fate>,
    /// Operations under way, and when they began, since the run began.
    running: BTreeMap<String, Duration>,
    /// Of all stages that were stored.
    bytes: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Done,
    Failed,
    Skipped,
    /// A gate: no work, and not counted.
    Passed,
}

impl Live {
    /// Draws on stderr; `total` operations are to come.
    pub fn new(total: usize, forecast: Forecast) -> Self {
        Self::on(ProgressDrawTarget::stderr(), total, forecast)
    }

    fn on(target: ProgressDrawTarget, total: usize, forecast: Forecast) -> Self {
        let (over, running) = (BTreeMap::new(), BTreeMap::new());
        let tally = Arc::new(Mutex::new(Tally { forecast, total, over, running, bytes: 0 }));
        let multi = MultiProgress::with_draw_target(target);
        let shown = tally.clone();
        let style = ProgressStyle::with_template("{spinner} {sum}").expect("the template is ours");
        let style = style.with_key("sum", move |state: &ProgressState, out: &mut dyn std::fmt::Write| {
            let _ = out.write_str(&held(&shown).sum(state.elapsed()));
        });
        let head = multi.add(ProgressBar::new_spinner().with_style(style));
        head.tick();
        head.enable_steady_tick(TICK);
        Self { multi, head, tally, bars: Mutex::default() }
    }

    /// Takes an event over.
    pub fn update(&self, event: &Event) {
        match event {
            Event::Started(subject) if subject.verb == Verb::Pass => {}
            Event::Reused(subject) | Event::Done { subject, .. } if subject.verb == Verb::Pass => {
                self.over(subject, Fate::Passed);
            }
            Event::Started(subject) => {
                // Asked before the tally is held: who draws the head holds it, and wants the tally.
                let now = self.head.elapsed();
                held(&self.tally).running.insert(subject.operation.clone(), now);
                let style = ProgressStyle::with_template("  {msg}  {took}").expect("the template is ours");
                let style = style.with_key("took", |state: &ProgressState, out: &mut dyn std::fmt::Write| {
                    let _ = out.write_str(&seconds(milliseconds(state.elapsed())));
                });
                let bar = self.multi.add(ProgressBar::new_spinner().with_style(style));
                bar.set_message(format!("{} {}", words(subject.verb).0, printable(&subject.name)));
                bar.enable_steady_tick(TICK);
                held(&self.bars).insert(subject.operation.clone(), bar);
            }
            Event::Storing { subject, bytes } => {
                held(&self.tally).bytes += bytes;
                if let Some(bar) = held(&self.bars).get(&subject.operation) {
                    bar.set_message(format!("storing {}, {}", printable(&subject.name), bytes_text(*bytes)));
                }
            }
            Event::Reused(subject) | Event::Done { subject, .. } | Event::Ignored { subject, .. } => {
                self.over(subject, Fate::Done);
            }
            Event::Failed { subject, .. } => self.over(subject, Fate::Failed),
            Event::Skipped { subject, .. } => self.over(subject, Fate::Skipped),
            Event::Waiting { subject, ready, want, why } => {
                if let Some(bar) = held(&self.bars).get(&subject.operation) {
                    let of =
                        ready.zip(*want).map(|(ready, want)| format!(", {ready} of {want} ready")).unwrap_or_default();
                    let why = if why.is_empty() { String::new() } else { format!(", {}", printable(why)) };
                    bar.set_message(format!("{} {}{of}{why}", words(subject.verb).0, printable(&subject.name)));
                }
            }
            Event::Output { .. } => {}
        }
    }

    fn over(&self, subject: &Subject, fate: Fate) {
        let mut tally = held(&self.tally);
        tally.running.remove(&subject.operation);
        tally.over.insert(subject.operation.clone(), fate);
        drop(tally);
        if let Some(bar) = held(&self.bars).remove(&subject.operation) {
            bar.finish_and_clear();
            self.multi.remove(&bar);
        }
    }

    /// Takes the display away while something else is written.
    pub fn suspend(&self, write: impl FnOnce()) {
        self.multi.suspend(write);
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.head.finish_and_clear();
    }
}

impl Tally {
    /// Says in one line where the run stands.
    fn sum(&self, elapsed: Duration) -> String {
        let count = |fate| self.over.values().filter(|f| **f == fate).count();
        let mut text = format!("{}/{} done", count(Fate::Done), self.total);
        for (fate, word) in [(Fate::Failed, "failed"), (Fate::Skipped, "skipped")] {
            if count(fate) > 0 {
                let _ = write!(text, ", {} {word}", count(fate));
            }
        }
        if self.bytes > 0 {
            let _ = write!(text, ", {} stored", bytes_text(self.bytes));
        }
        let _ = write!(text, ", {}", seconds(milliseconds(elapsed)));
        let spent = |id: &str| {
            let since = self.running.get(id).map(|began| milliseconds(elapsed.saturating_sub(*began)));
            if self.over.contains_key(id) { None } else { Some(since.unwrap_or(0)) }
        };
        let left = self.forecast.critical_path(spent);
        if self.forecast.is_timed() && left > 0 {
            let _ = write!(text, ", at least {} more", seconds(left));
        } else if !self.forecast.is_timed() && left > 1 {
            let _ = write!(text, ", {left} one after the other");
        }
        text
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::io;

    use indicatif::TermLike;

    use super::*;
    use crate::exec::Verb;
    use crate::plan::{Operation, Work};

    /// Everything that was ever drawn.
    #[derive(Clone, Debug, Default)]
    struct Drawn(Arc<Mutex<String>>);

    impl Drawn {
        /// It is drawn ten times a second.
        fn waits_for(&self, text: &str) {
            for _ in 0..200 {
                if held(&self.0).contains(text) {
                    return;
                }
                std::thread::sleep(TICK);
            }
            panic!("{text} is not in:\n{}", held(&self.0));
        }
    }

    impl TermLike for Drawn {
        fn width(&self) -> u16 {
            100
        }

        fn move_cursor_up(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_down(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_right(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_left(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn write_line(&self, text: &str) -> io::Result<()> {
            self.write_str(&format!("{text}\n"))
        }

        fn write_str(&self, text: &str) -> io::Result<()> {
            held(&self.0).push_str(text);
            Ok(())
        }

        fn clear_line(&self) -> io::Result<()> {
            Ok(())
        }

        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
    }

    fn subject(name: &str) -> Subject {
        Subject { operation: format!("build:{name}"), verb: Verb::Build, name: name.to_owned() }
    }

    #[test]
    fn the_display_shows_what_runs_and_what_is_to_come() {
        let drawn = Drawn::default();
        let live = Live::on(ProgressDrawTarget::term_like(Box::new(drawn.clone())), 3, Forecast::default());
        live.update(&Event::Started(subject("web/dockerfile")));
        live.update(&Event::Started(subject("api/dockerfile")));
        live.update(&Event::Storing { subject: subject("api/dockerfile"), bytes: 2_500_000 });
        for text in ["0/3 done, 2.5 MB stored", "  building web/dockerfile  ", "  storing api/dockerfile, 2.5 MB  "] {
            drawn.waits_for(text);
        }
        for name in ["web/dockerfile", "api/dockerfile"] {
            live.update(&Event::Done { subject: subject(name), ms: 5 });
        }
        held(&drawn.0).clear();
        drawn.waits_for("2/3 done");
    }

    #[test]
    fn what_is_to_come_shrinks_while_it_runs() {
        let plan = super::super::fixture::shop();
        let stage = plan.operations.iter().find(|o| o.id.starts_with("build:")).expect("the fixture builds");
        let durations = [(Subject::of(stage).name, 9_000)].into();
        let forecast = Forecast::new(std::slice::from_ref(stage), &durations);
        let running = [(stage.id.clone(), Duration::from_secs(1))].into();
        let mut tally = Tally { forecast, total: 1, over: BTreeMap::new(), running, bytes: 0 };
        assert_eq!(tally.sum(Duration::from_secs(3)), "0/1 done, 3.0s, at least 7.0s more");
        assert_eq!(tally.sum(Duration::from_secs(20)), "0/1 done, 20.0s");
        tally.over.insert(stage.id.clone(), Fate::Failed);
        assert_eq!(tally.sum(Duration::from_secs(21)), "0/1 done, 1 failed, 21.0s");
    }

    #[test]
    fn a_gate_is_neither_counted_nor_left() {
        let operation = |id: &str, needs: &[&str]| Operation {
            id: id.to_owned(),
            needs: needs.iter().map(|need| (*need).to_owned()).collect(),
            guards: Vec::new(),
            work: if id.starts_with("gate") { Work::Gate } else { Work::ForgetRelease { release: id.to_owned() } },
        };
        let plan = [operation("a", &[]), operation("gate:a", &["a"]), operation("b", &["gate:a"])];
        let drawn = Drawn::default();
        let target = ProgressDrawTarget::term_like(Box::new(drawn));
        let live = Live::on(target, 2, Forecast::new(&plan, &BTreeMap::new()));
        let sum = || held(&live.tally).sum(Duration::from_secs(1));
        assert_eq!(sum(), "0/2 done, 1.0s, 2 one after the other");
        for (nth, operation) in plan.iter().enumerate() {
            let subject = Subject::of(operation);
            live.update(&Event::Started(subject.clone()));
            // Of what a run before this one did, it is told that it was found done.
            live.update(&if nth < 2 { Event::Reused(subject) } else { Event::Done { subject, ms: 5 } });
        }
        assert_eq!(sum(), "2/2 done, 1.0s");
        assert_eq!(held(&live.tally).forecast.critical_path(|id| (id == "a").then_some(0)), 2);
    }
}
