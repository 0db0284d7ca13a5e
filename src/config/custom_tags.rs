//! Tags of the user's choice: patterns to one list of tags an image.
//!
//! Source: werf 2.x, `--add-custom-tag`; the strategies of werf 1.1 are patterns of the same kind.

use std::collections::BTreeMap;

use super::slug;
use crate::digest::Sha224Digest;

/// An image that tags are asked for.
pub struct Tagged<'a> {
    /// Its name in werf.yaml; empty for the nameless image.
    pub name: &'a str,
    /// Its content-based tag.
    pub signature: Sha224Digest,
}

/// Returns the tags of each image, by name. `%image%`, `%image_slug%`, `%image_safe_slug%` and
/// `%image_content_based_tag%` stand for the image.
///
/// # Errors
/// A tag is not valid, looks like one of our own, or two images would share it.
pub fn custom_tags(patterns: &[String], images: &[Tagged<'_>]) -> Result<BTreeMap<String, Vec<String>>, String> {
    let mut taken: BTreeMap<String, &str> = BTreeMap::new();
    let mut tags: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for pattern in patterns {
        for image in images {
            let tag = expand_image(pattern, image);
            if !slug::is_tag(&tag) {
                return Err(format!(
                    "`{tag}` is no tag: it has up to 128 letters, digits, `_`, `.` and `-`, and begins with none of \
                     the last two"
                ));
            }
            if is_own(&tag) {
                return Err(format!("`{tag}` looks like a content-based tag or a stage"));
            }
            match taken.insert(tag.clone(), image.name) {
                Some(other) if other != image.name => {
                    return Err(format!(
                        "the images `{other}` and `{}` would share the tag `{tag}`; write %image_slug% into it",
                        image.name
                    ));
                }
                Some(_) => {}
                None => tags.entry(image.name.to_owned()).or_default().push(tag),
            }
        }
    }
    Ok(tags)
}

/// Returns the pattern of a git name: with the image's name before it, unless the image has none.
pub fn git_pattern(name: &str, named: bool) -> String {
    let slug = slug::tag(name);
    if named { format!("%image_slug%-{slug}") } else { slug }
}

/// Writes an image into a pattern, see [`custom_tags`].
pub fn expand_image(pattern: &str, image: &Tagged<'_>) -> String {
    pattern
        .replace("%image%", image.name)
        .replace("%image_slug%", &slug::plain(image.name))
        .replace("%image_safe_slug%", &slug::tag(image.name))
        .replace("%image_content_based_tag%", &image.signature.to_string())
}

/// Says whether a tag is a content-based tag, or a digest and a time.
fn is_own(tag: &str) -> bool {
    let digest = tag.split_once('-').map_or(tag, |(digest, _)| digest);
    Sha224Digest::from_hex(digest).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(patterns: &[&str], names: &[&'static str]) -> Result<BTreeMap<String, Vec<String>>, String> {
        let signature = Sha224Digest::of_bytes(b"x");
        let images: Vec<Tagged<'_>> = names.iter().map(|name| Tagged { name, signature }).collect();
        custom_tags(&patterns.iter().map(|p| (*p).to_owned()).collect::<Vec<_>>(), &images)
    }

    #[test]
    fn patterns_stand_for_each_image() {
        let found = tags(&["%image_slug%-v1", "x-%image_safe_slug%"], &["web", "a/b"]).unwrap();
        assert_eq!(found["web"], ["web-v1", "x-web"]);
        assert!(found["a/b"].iter().all(|tag| slug::is_tag(tag)), "{found:?}");
        assert_eq!(tags(&["v1"], &[""]).unwrap()[""], ["v1"]);
    }

    #[test]
    fn bad_tags_are_refused() {
        assert!(tags(&["a b"], &["web"]).unwrap_err().contains("is no tag"));
        assert!(tags(&["%image_content_based_tag%"], &["web"]).unwrap_err().contains("content-based"));
        assert!(tags(&["v1"], &["web", "db"]).unwrap_err().contains("%image_slug%"));
        assert!(tags(&["v1", "v1"], &["web"]).is_ok(), "said twice is said once");
    }

    #[test]
    fn names_of_git_become_tags() {
        assert_eq!(git_pattern("main", true), "%image_slug%-main");
        let found = tags(&[&git_pattern("feature/Tags!", false)], &[""]).unwrap();
        assert!(slug::is_tag(&found[""][0]), "{found:?}");
    }
}
