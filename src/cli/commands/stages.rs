//! `stages copy`: copies between stage stores.

use std::collections::BTreeSet;

use super::super::args::{GlobalArgs, StagesCommand, StagesCopyArgs};
use super::super::error::{CliError, exit_code};
use super::super::project::{Options, find};
use super::super::streams::Invocation;
use super::super::wiring::{DEFAULT_REPO, Reach, open_store};
use crate::config::{Finals, select};
use crate::diag::Diagnostics;
use crate::digest::Sha224Digest;
use crate::pipeline::{Project, load};
use crate::ports::{StageId, StageStore, StoreError, copy_image, copy_stage};
use crate::signature::SignedImage;
use crate::source::Sources;

pub fn run(global: &GlobalArgs, command: &StagesCommand, invocation: &mut Invocation) -> Result<u8, CliError> {
    let StagesCommand::Copy(args) = command;
    let options = Options::images(&args.project, &args.build);
    let found = find(global, options, invocation)?;
    let reach = Reach::new(&args.build.registry, global, invocation);
    let from = args.from.as_deref().or(args.build.repo.as_deref()).unwrap_or(DEFAULT_REPO);
    let from = (from, open_store("--from", from, &found.dir, &reach)?);
    let to = open_store("--to", &args.to, &found.dir, &reach)?;
    let sources = Sources::new();
    let mut diagnostics = Diagnostics::new();
    let project = load(&mut diagnostics, &sources, &found.inputs);
    let chosen = project.as_ref().map(|project| chosen(&mut diagnostics, project, args)).unwrap_or_default();
    let failed = diagnostics.has_errors() || project.is_none();
    invocation.streams.tell_diagnostics(diagnostics, &sources);
    if failed {
        return Err(CliError::Config);
    }
    let several = |image: &&SignedImage| !image.platforms.is_empty() && chosen.contains(&image.name);
    if let Some(image) = project.iter().flat_map(|p| &p.images).find(several).filter(|_| !to.holds_indexes()) {
        let what = format!("image `{}` is for several platforms, which {} cannot hold", image.name, args.to);
        return Err(CliError::user(what).hint("choose one: --platform linux/amd64"));
    }
    let mut copies = Copies { from: from.1.as_ref(), to: to.as_ref(), stages: 0, images: 0, there: 0 };
    let attempt = || format!("copy stages from {} to {}", from.0, args.to);
    if args.all {
        copies.all().map_err(|e| CliError::environment(attempt(), e))?;
    }
    for image in project.iter().flat_map(|p| &p.images).filter(|image| chosen.contains(&image.name)) {
        let stored = copies.image(image).map_err(|e| CliError::environment(attempt(), e))?;
        if !stored && !args.all {
            let what = format!("image `{}` of this commit is not in {}", image.name, from.0);
            return Err(CliError::user(what).hint(format!("`build --repo {}` builds it", from.0)));
        }
    }
    let Copies { stages, images, there, .. } = copies;
    invocation.streams.inform(&format!("Copied {stages} stages and {images} images; {there} were there."));
    Ok(exit_code::DONE)
}

fn chosen(diagnostics: &mut Diagnostics, project: &Project, args: &StagesCopyArgs) -> BTreeSet<String> {
    let chosen = select(diagnostics, &project.config, &args.images, Finals::AndOthers);
    chosen.iter().map(|index| project.config.image(*index).name.value.clone()).collect()
}

struct Copies<'a> {
    from: &'a dyn StageStore,
    to: &'a dyn StageStore,
    stages: usize,
    images: usize,
    there: usize,
}

impl Copies<'_> {
    /// Copies every stage, and every image under its content-based tag.
    fn all(&mut self) -> Result<(), StoreError> {
        let tags = self.from.tags()?;
        let digests: BTreeSet<Sha224Digest> =
            tags.iter().filter_map(|t| StageId::parse(t)).map(|id| id.digest).collect();
        for digest in digests {
            self.stage(&digest)?;
        }
        let tags: Vec<String> = tags.into_iter().filter(|tag| Sha224Digest::from_hex(tag).is_some()).collect();
        for tag in tags {
            self.tagged(&tag, None)?;
        }
        Ok(())
    }

    /// Copies the stages of an image, and its content-based tag; says whether it is stored.
    fn image(&mut self, image: &SignedImage) -> Result<bool, StoreError> {
        for (_, signed) in image.all_stages() {
            self.stage(&signed.digest)?;
        }
        for chain in &image.platforms {
            self.tagged(&chain.signature.to_string(), None)?;
        }
        self.tagged(&image.signature.to_string(), Some(&image.name))
    }

    /// Copies the oldest build of a stage, if there is one and no other is there.
    fn stage(&mut self, digest: &Sha224Digest) -> Result<(), StoreError> {
        if let Some(stage) = self.from.stages(digest)?.into_iter().next() {
            if self.to.stages(digest)?.is_empty() {
                copy_stage(self.from, self.to, &stage)?;
                self.stages += 1;
            } else {
                self.there += 1;
            }
        }
        Ok(())
    }

    fn tagged(&mut self, tag: &str, name: Option<&str>) -> Result<bool, StoreError> {
        let one = [tag.to_owned()];
        let Some(image) = self.from.images(&one)?.into_iter().flatten().next() else { return Ok(false) };
        if let Some(there) = self.to.images(&one)?.into_iter().flatten().next() {
            match name {
                Some(name) => self.to.tag(tag, Some(name), &there.manifest)?,
                None => self.there += 1,
            }
            return Ok(true);
        }
        copy_image(self.from, self.to, &image.manifest, tag, name)?;
        self.images += 1;
        Ok(true)
    }
}
