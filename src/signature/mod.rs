//! Signatures: the named ingredients of a stage, their digest, and the difference of two of them.
//!
//! What lives here: [`Ingredient`], signing, the record of ingredients that is stored with a stage, and
//! [`difference`](compare). What does not: choosing build or reuse (`plan`).
//!
//! The one idea: ingredients are read off the build request, of which nothing is left out. What a builder can
//! see is signed, and what is signed can be compared: the answer to "why" is the difference of two lists.
//!
//! | ingredient    | value                                        | enters                    |
//! |---------------|----------------------------------------------|---------------------------|
//! | platform      | `linux/amd64`                                | first stage of an image   |
//! | cache version | `cacheVersion` of the image or of `build`    | first stage of an image   |
//! | base          | the reference as written, or `scratch`       | the stage that starts there |
//! | image         | the signature of the image that is used      | the stage that uses it    |
//! | content       | the git id of the files, after filtering     | the stage that copies them |
//! | argument      | the resolved value of a declared `ARG`       | the Dockerfile            |
//! | instruction   | the instruction, variables expanded          | its stage                 |
//!
//! The digest of a stage also holds the digest of the stage before it. Stages that only hold the files of git mappings
//! have a second digest without them, under which they are stored: their commands do not run again for a file that
//! no stage dependency names. The signature of an image is the digest of its whole chain, files included; an image for
//! several platforms has a chain for each, and signs their signatures by the names of the platforms. Names of images and of the project, paths of the machine, times, the store's address
//! and the tool's version enter nothing.

mod compare;
mod ingredient;
mod platforms;
mod project;
mod record;
mod sign;

pub use compare::{ChangedFile, Difference, compare, compare_trees};
pub use ingredient::{Ingredient, IngredientKind, Origin};
pub use platforms::{ANNOTATION_PLATFORMS, PlatformTags, platform_annotations, platform_tags};
pub use project::{Signatures, SignedImage, sign_image, sign_platforms};
pub use record::{
    ANNOTATION_COMMIT, ANNOTATION_FILES, ANNOTATION_INGREDIENTS, ANNOTATION_STAGE, ANNOTATION_UNCOMMITTED, Record,
    RecordError, mapped_files, mapped_files_json,
};
pub use sign::{SignedStage, git_cache_digest, image_signature, ingredients, sign_stage};
