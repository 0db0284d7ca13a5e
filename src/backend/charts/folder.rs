//! Writes fetched dependencies into a chart's folder.

#![expect(clippy::disallowed_methods, reason = "this is where the chart's folder is written")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

/// Writes archives into `charts/` of a chart's folder, then its lock, then removes archives that are outdated.
///
/// Everything is written beside its place first, so a full disk changes nothing; each file appears whole.
///
/// # Errors
/// A file cannot be written.
pub fn write_chart_files(
    chart: &Path,
    archives: &BTreeMap<String, Vec<u8>>,
    lock: Option<(&str, &str)>,
    outdated: &[String],
) -> io::Result<()> {
    let charts = chart.join("charts");
    if fs::symlink_metadata(&charts).is_ok_and(|meta| meta.is_symlink()) {
        return Err(io::Error::other("`charts` is a symbolic link: what is fetched would be written elsewhere"));
    }
    let mut ready = Vec::new();
    if !archives.is_empty() {
        fs::create_dir_all(&charts)?;
    }
    for (name, bytes) in archives {
        let to = charts.join(name);
        if fs::read(&to).is_ok_and(|there| there == *bytes) {
            continue;
        }
        ready.push((prepared(&charts, bytes)?, to));
    }
    if let Some((name, text)) = lock {
        ready.push((prepared(chart, text.as_bytes())?, chart.join(name)));
    }
    for (file, to) in ready {
        file.persist(&to).map_err(|e| e.error)?;
    }
    for name in outdated {
        match fs::remove_file(charts.join(name)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

/// Writes a file that has no name to speak of yet; dropped, it is gone.
fn prepared(dir: &Path, bytes: &[u8]) -> io::Result<tempfile::NamedTempFile> {
    use std::os::unix::fs::PermissionsExt as _;
    let permissions = fs::Permissions::from_mode(0o644);
    let mut file = tempfile::Builder::new().prefix(".stagewright-").permissions(permissions).tempfile_in(dir)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_come_and_outdated_ones_go() {
        let dir = tempfile::tempdir().unwrap();
        let archives = BTreeMap::from([("a-1.tgz".to_owned(), b"a".to_vec())]);
        write_chart_files(dir.path(), &archives, Some(("Chart.lock", "lock")), &[]).unwrap();
        let newer = BTreeMap::from([("a-2.tgz".to_owned(), b"b".to_vec())]);
        write_chart_files(dir.path(), &newer, None, &["a-1.tgz".to_owned()]).unwrap();
        let mut names: Vec<_> =
            fs::read_dir(dir.path().join("charts")).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["a-2.tgz"]);
        assert_eq!(fs::read_to_string(dir.path().join("Chart.lock")).unwrap(), "lock");
    }
}
