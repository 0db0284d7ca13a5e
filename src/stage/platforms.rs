//! The platforms of an image: read, and compared.
//!
//! The one idea: what is signed is the platform as it is written, and two ways to write one platform are one platform.

use super::build::Platform;
use crate::config::Image;
use crate::diag::{Diagnostic, Diagnostics, rules};

impl Platform {
    /// Reads `os/arch` or `os/arch/variant`; `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('/').map(str::to_owned);
        match (parts.next()?, parts.next()?, parts.next(), parts.next()) {
            (os, architecture, variant, None)
                if !os.is_empty() && !architecture.is_empty() && variant.as_ref().is_none_or(|v| !v.is_empty()) =>
            {
                Some(Self { os, architecture, variant })
            }
            _ => None,
        }
    }

    /// Returns the short form, which two ways to write one platform have in common.
    ///
    /// Source: containerd, platform normalisation.
    #[must_use]
    pub fn normal(&self) -> Self {
        let architecture = match self.architecture.to_ascii_lowercase().as_str() {
            "x86_64" | "x86-64" => "amd64".to_owned(),
            "aarch64" => "arm64".to_owned(),
            other => other.to_owned(),
        };
        let implied = match architecture.as_str() {
            "arm64" => "v8",
            "arm" => "v7",
            "amd64" => "v1",
            _ => "",
        };
        let variant = self.variant.as_ref().map(|v| v.to_ascii_lowercase()).filter(|v| v != implied);
        Self { os: self.os.to_ascii_lowercase(), architecture, variant }
    }

    /// Says whether both are written for the same machines.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self == other || self.normal() == other.normal()
    }
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
        if !platforms.iter().any(|known| known.is_same(&platform)) {
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
        let same = |a: &str, b: &str| Platform::parse(a).unwrap().is_same(&Platform::parse(b).unwrap());
        assert!(same("linux/arm64", "linux/arm64/v8") && same("linux/x86_64", "linux/amd64"));
        assert!(same("linux/arm", "linux/arm/v7") && same("linux/aarch64", "linux/arm64"));
        assert!(!same("linux/arm/v6", "linux/arm") && !same("linux/amd64/v2", "linux/amd64"));
    }
}
