//! Owners: from names to numbers, and what a copy does to owner and mode.
//!
//! Source: BuildKit, `--chown`: a number without a group is its own group, a name brings its group of
//! `/etc/passwd`.

use super::copy::read_image_file;
use super::files::{Draft, NewDirectory, Node};
use crate::ports::{BuildContext, BuildError};
use crate::stage::{CopyMode, Owner};

/// What is written over the owner and the mode of copied files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stamp {
    uid: Option<u64>,
    gid: Option<u64>,
    mode: Option<CopyMode>,
}

/// Why an owner has no number.
#[derive(Debug)]
pub enum OwnerError {
    /// No such name in the image.
    Unknown {
        /// `user` or `group`.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// The image could not be read.
    Build(BuildError),
}

impl OwnerError {
    /// Says it of a step.
    pub fn into_build_error(self, step: &str) -> BuildError {
        match self {
            Self::Unknown { what, name } => {
                let file = if what == "user" { "/etc/passwd" } else { "/etc/group" };
                BuildError::Step { step: step.to_owned(), why: format!("{file} of the image has no {what} `{name}`") }
            }
            Self::Build(error) => error,
        }
    }
}

impl Stamp {
    /// Returns the stamp that also sets the mode.
    pub fn with_mode(self, mode: Option<CopyMode>) -> Self {
        Self { mode, ..self }
    }

    /// Stamps a node; its owner and mode stay where none are given. Links have no mode.
    pub fn on(&self, node: Node) -> Node {
        let is_link = matches!(node.kind, super::files::Kind::Symlink(_));
        let is_directory = node.is_directory();
        let change = self.mode.as_ref().filter(|_| !is_link);
        let mode = change.map_or(node.mode, |change| change.apply(node.mode, is_directory));
        Node { uid: self.uid.unwrap_or(node.uid), gid: self.gid.unwrap_or(node.gid), mode, ..node }
    }

    /// Returns a directory that a copy has to make on its way.
    pub fn implicit_directory(&self) -> NewDirectory {
        NewDirectory { uid: self.uid, gid: self.gid }
    }
}

/// Finds the numbers of an owner in an image in the making.
pub fn resolve_owner(context: &BuildContext<'_>, draft: &Draft, owner: &Owner) -> Result<Stamp, OwnerError> {
    let field = |file: &str, name: &str, index: usize| {
        let text = read_image_file(context, draft, file).map_err(OwnerError::Build)?;
        let line = text.lines().map(|l| l.split(':').collect::<Vec<_>>()).find(|l| l.first() == Some(&name));
        Ok(line.map(|l| l.get(index).and_then(|n| n.parse::<u64>().ok()).unwrap_or(0)))
    };
    let unknown = |what, name: &str| OwnerError::Unknown { what, name: name.to_owned() };
    let mut stamp = Stamp::default();
    // What a variable of the base stood for may be both.
    let both = owner.user.as_deref().filter(|_| owner.group.is_none()).and_then(|user| user.split_once(':'));
    if let Some((user, group)) = both {
        let [user, group] = [user, group].map(|name| Some(name.to_owned()).filter(|name| !name.is_empty()));
        return resolve_owner(context, draft, &Owner { user, group });
    }
    if let Some(user) = owner.user.as_deref().filter(|u| !u.is_empty()) {
        if let Ok(number) = user.parse() {
            (stamp.uid, stamp.gid) = (Some(number), Some(number));
        } else {
            stamp.uid = Some(field("etc/passwd", user, 2)?.ok_or_else(|| unknown("user", user))?);
            stamp.gid = field("etc/passwd", user, 3)?;
        }
    }
    if let Some(group) = owner.group.as_deref().filter(|g| !g.is_empty()) {
        stamp.gid = Some(match group.parse() {
            Ok(number) => number,
            Err(_) => field("etc/group", group, 2)?.ok_or_else(|| unknown("group", group))?,
        });
    }
    Ok(stamp)
}
