//! The build report: what other jobs need to know of the images, as JSON and as variables.
//!
//! Source: werf 2.x, `--save-build-report`; its field names.

use std::collections::BTreeMap;

use serde::Serialize;

use super::pretty_json;

/// Everything that a build made or found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct BuildReport {
    /// The images, by name.
    pub images: BTreeMap<String, ReportedImage>,
    /// Of images for several platforms: the image on each, by platform and by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub images_by_platform: BTreeMap<String, BTreeMap<String, ReportedImage>>,
}

/// An image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ReportedImage {
    /// Its name in werf.yaml.
    pub werf_image_name: String,
    /// The repository that it is deployed from.
    pub docker_repo: String,
    /// Its tag there.
    pub docker_tag: String,
    /// Digest of its configuration; of its index, where it is for several platforms.
    #[serde(rename = "DockerImageID")]
    pub docker_image_id: String,
    /// Digest of its manifest, or of its index.
    pub docker_image_digest: String,
    /// Repository and tag.
    pub docker_image_name: String,
    /// The platform, where the image has several and this is the image on one of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_platform: Option<String>,
    /// Whether any of its stages was built by this run.
    pub rebuilt: bool,
    /// Whether templates see it.
    #[serde(rename = "Final")]
    pub is_final: bool,
    /// Size of its layers and its configuration. Unit: bytes.
    pub size: u64,
    /// How long this run built it. Unit: seconds.
    pub build_time: String,
    /// The commit it was built from.
    pub commit: String,
    /// Its stages, first to last.
    pub stages: Vec<ReportedStage>,
}

/// A stage of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ReportedStage {
    /// Its name.
    pub name: String,
    /// Repository and tag.
    pub docker_image_name: String,
    /// The stage id.
    pub docker_tag: String,
    /// Digest of its configuration.
    #[serde(rename = "DockerImageID")]
    pub docker_image_id: String,
    /// Digest of its manifest.
    pub docker_image_digest: String,
    /// When it was stored. Unit: nanoseconds since the Unix epoch.
    pub created_at: u64,
    /// Size of its layers and its configuration. Unit: bytes.
    pub size: u64,
    /// Whether this run built it.
    pub rebuilt: bool,
    /// How long this run built it. Unit: seconds.
    pub build_time: String,
    /// The commit it was built from.
    pub commit: String,
}

impl BuildReport {
    /// Returns the report as JSON.
    pub fn to_json(&self) -> String {
        pretty_json(self)
    }

    /// Returns a line `WERF_NAME_DOCKER_IMAGE_NAME=REPO:TAG` for each image.
    pub fn to_env(&self) -> String {
        let line = |(name, image): (&String, &ReportedImage)| {
            let name = name.to_uppercase().replace(['/', '-', '.'], "_");
            let infix = if name.is_empty() { String::new() } else { format!("{name}_") };
            format!("WERF_{infix}DOCKER_IMAGE_NAME={}\n", image.docker_image_name)
        };
        self.images.iter().map(line).collect()
    }
}

/// Writes a duration as the report does. Unit: milliseconds in, seconds out.
pub fn report_seconds(ms: u64) -> String {
    format!("{}.{:02}", ms / 1000, ms % 1000 / 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_named_after_images() {
        let image = |name: &str| ReportedImage {
            werf_image_name: name.into(),
            docker_repo: "r.example/shop".into(),
            docker_tag: "t".into(),
            docker_image_id: String::new(),
            docker_image_digest: String::new(),
            docker_image_name: "r.example/shop:t".into(),
            target_platform: None,
            rebuilt: true,
            is_final: true,
            size: 1,
            build_time: report_seconds(1_234),
            commit: "c".into(),
            stages: Vec::new(),
        };
        let images = ["", "api/v1.2-x"].map(|name| (name.to_owned(), image(name))).into();
        let report = BuildReport { images, ..BuildReport::default() };
        let env = "WERF_DOCKER_IMAGE_NAME=r.example/shop:t\nWERF_API_V1_2_X_DOCKER_IMAGE_NAME=r.example/shop:t\n";
        assert_eq!(report.to_env(), env);
        let json: serde_json::Value = serde_json::from_str(&report.to_json()).unwrap();
        let image = &json["Images"]["api/v1.2-x"];
        assert_eq!((image["BuildTime"].as_str(), image["Final"].as_bool()), (Some("1.23"), Some(true)));
        assert!(image["DockerImageID"].is_string() && image["WerfImageName"] == "api/v1.2-x");
    }
}
