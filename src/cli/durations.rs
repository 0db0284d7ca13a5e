//! How long builds took, kept beside the locks: it orders the next run, and nothing depends on it but speed.

use std::collections::BTreeMap;
use std::path::Path;

use crate::exec::{Durations, Event, Verb};

/// Reads what earlier runs recorded; nothing where there is nothing that can be read.
pub fn read(file: &Path) -> Durations {
    let text = std::fs::read(file).unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}

/// Notes how long a build took.
pub fn note(durations: &mut Durations, event: &Event) {
    if let Event::Done { subject, ms } = event
        && subject.verb == Verb::Build
    {
        durations.insert(subject.name.clone(), *ms);
    }
}

/// Adds what a run recorded to what the file holds. What cannot be written is not written: nothing is lost by it.
pub fn write(file: &Path, new: Durations) {
    if new.is_empty() {
        return;
    }
    let mut all: BTreeMap<String, u64> = read(file);
    all.extend(new);
    let Some(dir) = file.parent() else { return };
    let text = serde_json::to_vec_pretty(&all).unwrap_or_default();
    // Whole or not at all: two runs may write at once.
    let temp = dir.join(format!("durations.{}.tmp", std::process::id()));
    let written = std::fs::create_dir_all(dir).and_then(|()| std::fs::write(&temp, text));
    if written.and_then(|()| std::fs::rename(&temp, file)).is_err() {
        let _ = std::fs::remove_file(&temp);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_of_several_runs_stand_together_and_a_broken_file_is_as_none() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("own/durations.json");
        assert_eq!(read(&file), Durations::new());
        write(&file, Durations::from([("web/dockerfile".into(), 7), ("api/dockerfile".into(), 8)]));
        write(&file, Durations::from([("web/dockerfile".into(), 9)]));
        let expected = [("api/dockerfile".to_owned(), 8), ("web/dockerfile".to_owned(), 9)];
        assert_eq!(read(&file), Durations::from(expected));
        std::fs::write(&file, "{").unwrap();
        assert_eq!(read(&file), Durations::new());
    }
}
