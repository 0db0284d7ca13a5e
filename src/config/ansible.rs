//! The deprecated `ansible` section of Stapel images.

use std::collections::BTreeMap;

use crate::diag::{Diagnostic, Diagnostics, did_you_mean, rules};
use crate::syntax::yaml::Node;

use super::decode::{Section, deprecated};
use super::directives;
use super::{Ansible, AnsibleTask, Text, UserStage};

/// Tasks may hold tasks; deeper than this is refused.
const MAX_DEPTH: usize = 32;

/// The modules that a task may call. Source: werf, ansible directive.
const MODULES: &str = "command shell raw script \
    openssl_certificate openssl_csr openssl_privatekey openssl_publickey \
    acl archive assemble blockinfile copy file replace find ini_file iso_extract lineinfile stat tempfile unarchive \
    xattr get_url slurp uri bower bundler composer cpanm easy_install gem maven_artifact npm pear pip yarn \
    apk apt apt_key apt_repository apt_rpm dnf dpkg_selections debconf homebrew homebrew_cask homebrew_tap layman \
    macports openbsd_pkg opkg package pacman pkg5 pkg5_publisher pkgin pkgng pkgutil portage portinstall pulp_repo \
    redhat_subscription rhn_channel rhn_register rpm_key slackpkg sorcery svr4pkg swdepot swupd urpmi xbps yum \
    yum_repository zypper zypper_repository cron user group getent locale_gen timezone \
    meta assert debug fail set_fact wait_for";

const BLOCKS: [&str; 3] = ["block", "rescue", "always"];

/// Reads the section under `ansible`.
pub(super) fn decode(d: &mut Diagnostics, image: &Section<'_>) -> Option<Ansible> {
    deprecated(d, image, "ansible", "use `shell`");
    let section = image.section(d, "ansible", &directives::ANSIBLE)?;
    let mut tasks = BTreeMap::new();
    let mut versions: BTreeMap<UserStage, Text> = BTreeMap::new();
    for stage in UserStage::ALL {
        let nodes = section.items(d, stage.key()).unwrap_or_default();
        if !nodes.is_empty() {
            let list = nodes.iter().map(|n| task(d, n)).collect();
            tasks.insert(stage, list);
        }
        if let Some(version) = section.filled(d, &format!("{}CacheVersion", stage.key())) {
            versions.insert(stage, version);
        }
    }
    let cache_version = section.filled(d, "cacheVersion");
    Some(Ansible { span: section.span, cache_version, tasks, stage_cache_versions: versions })
}

fn task(d: &mut Diagnostics, node: &Node) -> AnsibleTask {
    check(d, node, 0);
    // The order of keys says nothing.
    let mut task = node.to_plain();
    task.sort_all_objects();
    AnsibleTask { span: node.span, task }
}

fn check(d: &mut Diagnostics, node: &Node, depth: usize) {
    let Some(section) = Section::any(d, node, "a task") else { return };
    let blocks: Vec<&Node> = BLOCKS.iter().filter_map(|key| section.node(key)).collect();
    if !blocks.is_empty() && depth < MAX_DEPTH {
        for inner in blocks.iter().flat_map(|b| b.as_sequence().unwrap_or_default()) {
            check(d, inner, depth + 1);
        }
        return;
    }
    let called: Vec<_> =
        section.entries().filter(|e| !e.value.is_null() && MODULES.split_whitespace().any(|m| m == &*e.name)).collect();
    match called.as_slice() {
        [_] => {}
        [] => {
            let found = Diagnostic::at(&rules::INVALID_VALUE, node.span, "the task calls no module that can be used");
            let near = section.entries().find_map(|e| did_you_mean(&e.name, MODULES.split_whitespace()));
            d.push(match near {
                Some(near) => found.hint(format!("did you mean `{near}`?")),
                None => found,
            });
        }
        [one, other, ..] => d.push(
            Diagnostic::at(&rules::CONFLICTING_KEYS, other.key.span, "the task calls two modules")
                .also(one.key.span, "the other module"),
        ),
    }
}
