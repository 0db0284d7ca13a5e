//! `import`: files of another image.

use crate::diag::{Diagnostic, Diagnostics, did_you_mean, rules};
use crate::source::{Span, Spanned};
use crate::syntax::yaml::Node;

use super::decode::{Section, absolute, conflict, deprecated, missing, patterns, renamed};
use super::directives;
use super::image::{Wanted, slot};
use super::reference::is_pinned;
use super::{ImageReference, Slot, Text, UserStage};

/// Files of another image that are put into a Stapel image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// The entry.
    pub span: Span,
    /// The image.
    pub from: ImageReference,
    /// The stage of that image; `None` means the last.
    pub stage: Option<Spanned<UserStage>>,
    /// Where it enters.
    pub slot: Slot,
    /// File or directory of that image; cleaned, begins with `/`.
    pub add: Text,
    /// Where it goes; cleaned, begins with `/`.
    pub to: Text,
    /// Owner, by name or number.
    pub owner: Option<Text>,
    /// Group, by name or number.
    pub group: Option<Text>,
    /// Patterns relative to `add`; empty takes all.
    pub include: Vec<Text>,
    /// Patterns relative to `add`.
    pub exclude: Vec<Text>,
}

impl Import {
    /// Reads one entry of `import`.
    pub(super) fn decode(d: &mut Diagnostics, node: &Node) -> Option<Self> {
        let section = Section::open(d, node, &directives::IMPORT)?;
        let from = source(d, &section);
        let slot = slot(d, &section, "an import");
        let stage = section.filled(d, "stage").and_then(|s| source_stage(d, &s));
        let add = section.text(d, "add");
        if add.is_none() {
            missing(
                d,
                section.span,
                "an import needs `add`",
                "write the path in the other image, for example `add: /usr/local/bin`",
            );
        }
        let add = add.and_then(|add| absolute(d, &add, "add"));
        let to = match section.text(d, "to") {
            Some(to) => absolute(d, &to, "to"),
            None => add.clone(),
        };
        let include = patterns(d, &section, "includePaths", "`add`");
        let exclude = patterns(d, &section, "excludePaths", "`add`");
        if let Some(add) = add.as_ref().filter(|a| a.value == "/" && include.is_empty()) {
            let found = Diagnostic::at(&rules::INVALID_PATH, add.span, "a whole image cannot be imported");
            d.push(found.hint("name what is taken in `includePaths`"));
        }
        Some(Self {
            span: section.span,
            from: from?,
            stage,
            slot: slot?,
            add: add?,
            to: to?,
            owner: section.filled(d, "owner"),
            group: section.filled(d, "group"),
            include,
            exclude,
        })
    }
}

/// Reads the image: `from`, or one of the older keys.
fn source(d: &mut Diagnostics, section: &Section<'_>) -> Option<ImageReference> {
    renamed(d, section, "image", "from");
    deprecated(d, section, "artifact", "use `from`, and declare the artifact as an image with `final: false`");
    let given: Vec<&str> = ["from", "image", "artifact"].into_iter().filter(|k| section.node(k).is_some()).collect();
    if let [one, other, ..] = given.as_slice() {
        conflict(d, section, one, other);
    }
    let name = given.first().and_then(|key| section.filled(d, key));
    let Some(name) = name else {
        missing(
            d,
            section.span,
            "an import needs `from`",
            "write the name of an image, or an outside one with tag or digest",
        );
        return None;
    };
    let outside = given.first() != Some(&"artifact") && is_pinned(&name.value);
    Some(ImageReference::new(name, if outside { Wanted::Outside } else { Wanted::Project }))
}

fn source_stage(d: &mut Diagnostics, text: &Text) -> Option<Spanned<UserStage>> {
    if let Some(stage) = UserStage::ALL.into_iter().find(|s| s.key() == text.value) {
        return Some(Spanned::new(stage, text.span));
    }
    let found =
        Diagnostic::at(&rules::INVALID_VALUE, text.span, format!("`{}` is not a stage to import from", text.value));
    d.push(match did_you_mean(&text.value, UserStage::ALL.iter().map(|s| s.key())) {
        Some(near) => found.hint(format!("did you mean `{near}`?")),
        None => found.hint("use beforeInstall, install, beforeSetup or setup"),
    });
    None
}
