//! Packs a chart's folder into an archive: the same files always give the same bytes.

use std::collections::BTreeMap;
use std::io::Write as _;

use crate::diag::Diagnostics;
use crate::source::{Files, Sources};

use super::content::Content;
use super::helm::Helm;
use super::load::{Loader, Unpacked, has_extension, is_archive};

/// Packs the chart in the folder `path` of `files` under the name that its Chart.yaml gives.
///
/// What `.helmignore` names is left out, links are followed, archives in `charts/` go in as they are. `None` when a
/// file cannot be taken, which is reported.
pub fn pack(
    diagnostics: &mut Diagnostics,
    sources: &Sources,
    files: &Files,
    path: &str,
    name: &str,
) -> Option<Vec<u8>> {
    pack_with(diagnostics, sources, (files, path), name, BTreeMap::new())
}

/// As [`pack`], with files that are added or replaced: what `.helmignore` names is among them where they say so.
pub(super) fn pack_with(
    diagnostics: &mut Diagnostics,
    sources: &Sources,
    (files, path): (&Files, &str),
    name: &str,
    changes: BTreeMap<String, Vec<u8>>,
) -> Option<Vec<u8>> {
    let mut loader = Loader { diagnostics, sources, helm: Helm::V3, unpacked: Unpacked::default() };
    let mut raw = loader.folder(files, path)?;
    // What no chart takes goes nowhere: nobody has looked at what is in it.
    raw.retain(|file, _| !is_passed_over(file));
    raw.extend(changes.into_iter().map(|(file, bytes)| (file, Content::from(bytes))));
    let mut all = BTreeMap::new();
    for (file, content) in &raw {
        all.insert(file.as_str(), loader.read(file, content)?);
    }
    archive_of(name, all.iter().map(|(file, bytes)| (*file, &**bytes)))
}

/// Says whether a file lies where subcharts do and is of none: `charts/_old/…`, `charts/sub/charts/.git/…`,
/// `charts/notes.txt`.
pub(super) fn is_passed_over(file: &str) -> bool {
    let mut rest = file;
    while let Some(below) = rest.strip_prefix("charts/") {
        if below.starts_with(['_', '.']) {
            return true;
        }
        match below.split_once('/') {
            Some((_, inner)) => rest = inner,
            None => return !is_archive(below) && !has_extension(below, "prov"),
        }
    }
    false
}

/// Makes the archive of a chart of its files.
pub(super) fn archive_of<'a>(name: &str, files: impl Iterator<Item = (&'a str, &'a [u8])>) -> Option<Vec<u8>> {
    let zipped = flate2::GzBuilder::new().write(Vec::new(), flate2::Compression::default());
    let mut archive = tar::Builder::new(zipped);
    for (file, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Regular);
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(0);
        archive.append_data(&mut header, format!("{name}/{file}"), bytes).ok()?;
    }
    let mut zipped = archive.into_inner().ok()?;
    zipped.flush().ok()?;
    zipped.finish().ok()
}

#[cfg(test)]
mod tests {
    use super::super::load::load_archive;
    use super::*;
    use crate::source::MemoryObjects;

    #[test]
    fn a_packed_chart_is_the_chart() {
        let files = MemoryObjects::files([
            ("libs/web/Chart.yaml", "apiVersion: v2\nname: web\nversion: 1.0.0\n"),
            ("libs/web/.helmignore", "*.bak\n"),
            ("libs/web/templates/a.yaml", "a: 1\n"),
            ("libs/web/templates/a.bak", "x"),
            ("libs/web/charts/sub/Chart.yaml", "apiVersion: v2\nname: sub\nversion: 1.0.0\n"),
            ("libs/web/charts/sub/charts/.old/secret-values.yaml", "a: clear\n"),
            ("libs/web/charts/_off/secret/key", "clear"),
            ("libs/web/charts/key.txt", "clear"),
            ("libs/web/charts/sub/charts/key.txt", "clear"),
        ]);
        let (mut diagnostics, sources) = (Diagnostics::new(), Sources::new());
        let bytes = pack(&mut diagnostics, &sources, &files, "libs/web", "web").unwrap();
        assert_eq!(pack(&mut diagnostics, &sources, &files, "libs/web", "web").unwrap(), bytes);
        let chart = load_archive(&mut diagnostics, &sources, "web-1.0.0.tgz", &bytes).unwrap();
        assert!(diagnostics.is_empty());
        assert_eq!((chart.name(), chart.templates.len(), chart.subcharts.len()), ("web", 1, 1));
        let packed = super::super::load::read_archive(&mut diagnostics, &sources, "web-1.0.0.tgz", &bytes).unwrap();
        let names: Vec<&str> = packed.keys().map(String::as_str).collect();
        let taken = [".helmignore", "Chart.yaml", "charts/sub/Chart.yaml", "templates/a.yaml"];
        assert_eq!(names, taken, "what no chart takes is left out");
    }
}
