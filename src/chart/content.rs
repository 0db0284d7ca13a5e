//! The content of a chart's files, read when it is asked for.
//!
//! What lives here: [`Content`]. What does not: which files a chart has (`load`).
//!
//! The one idea: most files of a chart (READMEs, changelogs, CRDs) reach no output, so they are not read. A read that
//! fails late gives nothing and is remembered; a rendering asks for [`Content::failure`] when it is done.

use std::fmt;
use std::sync::{Arc, OnceLock};

use crate::source::{FilesError, ObjectId, Objects};

use super::load::MAX_FILE;

/// The bytes of a file, without a byte-order mark.
#[derive(Clone)]
pub struct Content(Arc<Inner>);

struct Inner {
    read: OnceLock<Result<Arc<[u8]>, String>>,
    /// Where it comes from; absent when it was there from the start.
    from: Option<(Arc<dyn Objects>, ObjectId)>,
}

impl Content {
    /// Returns the content of an object, which is not read yet.
    pub fn of_object(objects: Arc<dyn Objects>, id: ObjectId) -> Self {
        Self(Arc::new(Inner { read: OnceLock::new(), from: Some((objects, id)) }))
    }

    /// Returns the bytes; none when they cannot be read, see [`Content::failure`].
    pub fn bytes(&self) -> &[u8] {
        self.read().as_ref().map_or(&[], |bytes| bytes)
    }

    /// Returns the bytes for keeps.
    ///
    /// # Errors
    /// Why they cannot be read.
    pub fn shared(&self) -> Result<Arc<[u8]>, String> {
        self.read().clone()
    }

    /// Returns why a read that was tried has failed.
    pub fn failure(&self) -> Option<&str> {
        self.0.read.get()?.as_ref().err().map(String::as_str)
    }

    fn read(&self) -> &Result<Arc<[u8]>, String> {
        self.0.read.get_or_init(|| {
            let read = self.0.from.as_ref().map(|(objects, id)| objects.blob(*id));
            match read.transpose() {
                Ok(Some(bytes)) if bytes.len() as u64 > MAX_FILE => {
                    Err(format!("the file is larger than {MAX_FILE} bytes"))
                }
                Ok(bytes) => Ok(without_mark(bytes.unwrap_or_default())),
                Err(FilesError::Object { cause, .. }) => Err(cause),
                Err(error) => Err(error.to_string()),
            }
        })
    }
}

impl<B: Into<Arc<[u8]>>> From<B> for Content {
    fn from(bytes: B) -> Self {
        Self(Arc::new(Inner { read: OnceLock::from(Ok(without_mark(bytes.into()))), from: None }))
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.read.get() {
            Some(read) => write!(f, "Content({read:?})"),
            None => f.write_str("Content(not read)"),
        }
    }
}

/// Takes the byte-order mark off.
fn without_mark(bytes: Arc<[u8]>) -> Arc<[u8]> {
    bytes.strip_prefix(b"\xEF\xBB\xBF").map(Arc::from).unwrap_or(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chart::{LoadOptions, RenderOptions, ValuesInput, compose, load, render};
    use crate::diag::Diagnostics;
    use crate::source::{Files, MemoryObjects, Sources, Tree};

    /// Objects of which those that hold `gone` cannot be read.
    struct Failing(Arc<dyn Objects>);

    impl Objects for Failing {
        fn tree(&self, id: ObjectId) -> Result<Arc<Tree>, FilesError> {
            self.0.tree(id)
        }

        fn blob(&self, id: ObjectId) -> Result<Arc<[u8]>, FilesError> {
            let bytes = self.0.blob(id)?;
            if &*bytes == b"gone" { Err(FilesError::Object { id, cause: "it is gone".into() }) } else { Ok(bytes) }
        }
    }

    fn faults_of(template: &'static str) -> Vec<String> {
        let (mut diagnostics, sources) = (Diagnostics::new(), Sources::new());
        let files = MemoryObjects::files([
            ("c/Chart.yaml", "apiVersion: v2\nname: c\nversion: 1.0.0\n"),
            ("c/templates/a.yaml", template),
            ("c/note.txt", "gone"),
        ]);
        let files = Files::new(Arc::new(Failing(files.objects().clone())), files.root());
        let chart = load(&mut diagnostics, &sources, &files, "c", &LoadOptions::default()).unwrap();
        let values = compose(&mut diagnostics, &sources, &chart, &ValuesInput::default()).unwrap();
        render(&mut diagnostics, &sources, &values, &RenderOptions::default());
        let place = |d: &crate::diag::Diagnostic| d.path.clone().unwrap_or_default();
        diagnostics.as_slice().iter().map(|d| format!("{}: {}", place(d), d.message)).collect()
    }

    #[test]
    fn a_file_that_no_template_asks_for_is_not_read() {
        assert_eq!(faults_of("# nothing"), [""; 0]);
    }

    #[test]
    fn a_file_that_cannot_be_read_is_reported_when_a_template_asks_for_it() {
        assert_eq!(faults_of("# {{ .Files.Get \"note.txt\" }}"), ["c/note.txt: it is gone"]);
    }

    #[test]
    fn a_byte_order_mark_is_no_content() {
        assert_eq!(Content::from(b"\xEF\xBB\xBFa".to_vec()).bytes(), b"a");
    }
}
