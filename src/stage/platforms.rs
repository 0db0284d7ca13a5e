//! The platforms of an image: read, and compared.
//!
//! The one idea: a platform has one form, the short one of registries, however it is written.

use super::build::Platform;
use crate::config::Image;
use crate::diag::{Diagnostic, Diagnostics, rules};

impl Platform {
    /// Reads `os/arch` or `os/arch/variant` into the form that registries use; `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('/').map(str::to_ascii_lowercase);
        match (parts.next()?, parts.next()?, parts.next(), parts.next()) {
            (os, architecture, variant, None)
                if !os.is_empty() && !architecture.is_empty() && variant.as_ref().is_none_or(|v| !v.is_empty()) =>
            {
                Some(normal(os, &architecture, variant.as_deref()))
            }
            _ => None,
        }
    }
}

/// Returns the form that two ways to write one platform have in common.
///
/// Source: containerd, platform normalisation.
fn normal(os: String, architecture: &str, variant: Option<&str>) -> Platform {
    let os = if os == "macos" { "darwin".to_owned() } else { os };
    let (architecture, variant) = match (architecture, variant) {
        ("x86_64" | "x86-64" | "amd64", variant) => ("amd64", variant.filter(|v| *v != "v1")),
        ("aarch64" | "arm64", variant) => ("arm64", variant.filter(|v| !matches!(*v, "8" | "v8"))),
        ("armhf", _) | ("arm", None | Some("7" | "v7")) => ("arm", Some("v7")),
        ("armel", _) | ("arm", Some("6" | "v6")) => ("arm", Some("v6")),
        ("arm", Some("5")) => ("arm", Some("v5")),
        ("arm", Some("8")) => ("arm", Some("v8")),
        ("i386", _) => ("386", None),
        (other, variant) => (other, variant),
    };
    Platform { os, architecture: architecture.to_owned(), variant: variant.map(str::to_owned) }
}

/// Returns the platforms that an image is built for, by name and each once; `None` when one cannot be read, which is
/// reported.
pub fn image_platforms(diagnostics: &mut Diagnostics, image: &Image) -> Option<Vec<Platform>> {
    let mut platforms: Vec<Platform> = Vec::new();
    for text in &image.platforms {
        let Some(platform) = Platform::parse(&text.value) else {
            let message = format!("`{}` is no platform", text.value);
            let d = Diagnostic::at(&rules::INSTRUCTION_ARGUMENT, text.span, message);
            diagnostics.push(d.hint("write OS/ARCHITECTURE, for example `linux/amd64`"));
            return None;
        };
        if !platforms.contains(&platform) {
            platforms.push(platform);
        }
    }
    if platforms.is_empty() {
        platforms.push(Platform::linux_amd64());
    }
    platforms.sort_by_cached_key(ToString::to_string);
    Some(platforms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_platform_is_read_and_written() {
        for text in ["linux/amd64", "linux/arm/v7", "windows/amd64"] {
            assert_eq!(Platform::parse(text).unwrap().to_string(), text);
        }
        assert!(
            ["", "linux", "linux/", "/amd64", "linux/arm/", "a/b/c/d"].iter().all(|t| Platform::parse(t).is_none())
        );
    }

    #[test]
    fn one_platform_may_be_written_in_several_ways() {
        let shown = |text: &str| Platform::parse(text).unwrap().to_string();
        for (written, form) in [
            ("linux/arm64/v8", "linux/arm64"),
            ("linux/aarch64", "linux/arm64"),
            ("Linux/x86_64", "linux/amd64"),
            ("linux/amd64/v1", "linux/amd64"),
            ("linux/amd64/v2", "linux/amd64/v2"),
            ("linux/arm", "linux/arm/v7"),
            ("linux/armel", "linux/arm/v6"),
            ("linux/i386", "linux/386"),
            ("macos/arm64", "darwin/arm64"),
        ] {
            assert_eq!(shown(written), form, "{written}");
        }
    }
}
