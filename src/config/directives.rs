//! The table of directives: what keys each section has, what they take and what they mean.
//!
//! The reader refuses keys that are not in the table; the JSON Schemas and the reference are written from it. A key is
//! added here, and read where its section is decoded.

/// A section: its keys and what it is.
#[derive(Debug)]
pub struct Shape {
    /// What messages call it.
    pub title: &'static str,
    /// One sentence.
    pub doc: &'static str,
    /// Its keys, in groups that other sections may share.
    pub groups: &'static [&'static [Key]],
    /// Which keys go together.
    pub choices: &'static [Chosen],
}

/// How many of some keys there must be.
#[derive(Clone, Copy, Debug)]
pub enum Chosen {
    /// Exactly one.
    One(&'static [&'static str]),
    /// One or more.
    Some(&'static [&'static str]),
    /// None or one.
    AtMostOne(&'static [&'static str]),
}

/// A key of a section.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// As it is written.
    pub name: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// One sentence.
    pub doc: &'static str,
    /// Whether the section needs it.
    pub needed: bool,
    /// The value without it, as it would be written; empty where there is none.
    pub default: &'static str,
    /// What to write instead, if an older werf had it.
    pub instead: &'static str,
}

/// What a key takes.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// Any scalar, by its source text.
    Text,
    /// A boolean.
    Flag,
    /// An integer.
    Integer,
    /// A duration in Go's form.
    Duration,
    /// A number of seconds or a duration.
    Seconds,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A list of scalars.
    Texts,
    /// A string or a list of strings.
    Strings,
    /// A name, a list of names, or null for an image without a name.
    Names,
    /// A mapping of scalars.
    Map,
    /// A section.
    Section(&'static Shape),
    /// A list of sections.
    List(&'static Shape),
    /// A list whose items are not checked here.
    Items,
}

impl Shape {
    /// Returns all keys.
    pub fn keys(&self) -> impl Iterator<Item = &'static Key> {
        self.groups.iter().copied().flatten()
    }

    /// Returns the names of all keys.
    pub fn names(&self) -> Vec<&'static str> {
        self.keys().map(|key| key.name).collect()
    }
}

const fn key(name: &'static str, kind: Kind, doc: &'static str) -> Key {
    Key { name, kind, doc, needed: false, default: "", instead: "" }
}

impl Key {
    const fn needed(self) -> Self {
        Self { needed: true, ..self }
    }

    const fn default(self, default: &'static str) -> Self {
        Self { default, ..self }
    }

    const fn old(self, instead: &'static str) -> Self {
        Self { instead, ..self }
    }
}

use Kind::{Choice, Duration, Flag, Integer, Items, List, Map, Names, Seconds, Section, Strings, Text, Texts};

/// The meta document.
pub static META: Shape = Shape {
    title: "the meta document",
    doc: "The first document: the project and what holds for all of it.",
    groups: &[&[
        key("configVersion", Integer, "The version of the language: 1.").needed(),
        key("project", Text, "The name of the project: lower-case letters, digits and inner dashes, at most 50.")
            .needed(),
        key("build", Section(&BUILD), "What holds for the build of all images."),
        key("deploy", Section(&DEPLOY), "Chart, release and namespace."),
        key("cleanup", Section(&CLEANUP), "Which images cleanup keeps."),
        key("gitWorktree", Section(&GIT_WORKTREE), "What may be done with a shallow clone."),
    ]],
    choices: &[],
};

/// `build`.
pub static BUILD: Shape = Shape {
    title: "`build`",
    doc: "What holds for the build of all images.",
    groups: &[&[
        key("cacheVersion", Text, "Partitions the stages of all images that have no version of their own."),
        key("platform", Texts, "Platforms of images that name none: `os/arch` or `os/arch/variant`.")
            .default("[linux/amd64]"),
        key("staged", Flag, "Whether Dockerfile images are built stage by stage.").default("false"),
        key("imageSpec", Section(&GLOBAL_IMAGE_SPEC), "Merged into the `imageSpec` of final images."),
    ]],
    choices: &[],
};

/// `deploy`.
pub static DEPLOY: Shape = Shape {
    title: "`deploy`",
    doc: "Chart, release and namespace.",
    groups: &[&[
        key("helmChartDir", Text, "Folder of the chart, relative to the project.").default(".helm"),
        key("helmChartConfig", Section(&CHART_CONFIG), "What replaces parts of Chart.yaml."),
        key(
            "helmRelease",
            Text,
            "Template of the release's name, with `[[ project ]]`, `[[ env ]]` and `[[ namespace ]]`.",
        )
        .default("[[ project ]]-[[ env ]]"),
        key("helmReleaseSlug", Flag, "Whether the release's name is made valid.").default("true"),
        key("jsonnetDir", Text, "Folder of Jsonnet files that make manifests of the same release; not in werf.")
            .default("jsonnet in the chart"),
        key("namespace", Text, "Template of the namespace, with `[[ project ]]` and `[[ env ]]`.")
            .default("[[ project ]]-[[ env ]]"),
        key("namespaceSlug", Flag, "Whether the namespace is made valid.").default("true"),
    ]],
    choices: &[],
};

/// `deploy.helmChartConfig`.
pub static CHART_CONFIG: Shape = Shape {
    title: "`helmChartConfig`",
    doc: "What replaces parts of Chart.yaml.",
    groups: &[&[key("appVersion", Text, "Replaces the `appVersion` of the chart.")]],
    choices: &[],
};

/// `cleanup`.
pub static CLEANUP: Shape = Shape {
    title: "`cleanup`",
    doc: "Which images cleanup keeps.",
    groups: &[&[
        key("disable", Flag, "Turns cleanup off.").default("false"),
        key("disableKubernetesBasedPolicy", Flag, "Does not keep what runs in clusters.").default("false"),
        key("disableGitHistoryBasedPolicy", Flag, "Does not look at git history.").default("false"),
        key("disableBuiltWithinLastNHoursPolicy", Flag, "Does not keep what is young.").default("false"),
        key("keepImagesBuiltWithinLastNHours", Integer, "How long an image is young. Unit: hours.").default("2"),
        key("keepPolicies", List(&KEEP_POLICY), "What git history keeps; without it, three built-in policies."),
    ]],
    choices: &[],
};

/// An item of `cleanup.keepPolicies`.
pub static KEEP_POLICY: Shape = Shape {
    title: "a keep policy",
    doc: "Which git references keep how many images.",
    groups: &[&[
        key("references", Section(&REFERENCES), "The references.").needed(),
        key("imagesPerReference", Section(&LIMIT), "How many images each reference keeps.").default("{last: 1}"),
    ]],
    choices: &[],
};

/// `references` of a keep policy.
pub static REFERENCES: Shape = Shape {
    title: "`references`",
    doc: "Branches or tags, all or the newest of them.",
    groups: &[&[
        key("branch", Text, "A branch, or `/expression/`; either this or `tag`."),
        key("tag", Text, "A tag, or `/expression/`; either this or `branch`."),
        key("limit", Section(&LIMIT), "Takes only the newest."),
    ]],
    choices: &[Chosen::One(&["branch", "tag"])],
};

/// A limit of a keep policy.
pub static LIMIT: Shape = Shape {
    title: "a limit",
    doc: "How many, and how old.",
    groups: &[&[
        key("last", Integer, "How many; -1 for all."),
        key("in", Duration, "How old at most, for example `168h`."),
        key("operator", Choice(&["And", "Or"]), "How the two go together.").default("And"),
    ]],
    choices: &[],
};

/// `gitWorktree`.
pub static GIT_WORKTREE: Shape = Shape {
    title: "`gitWorktree`",
    doc: "What may be done with a shallow clone.",
    groups: &[&[
        key("forceShallowClone", Flag, "Works with a shallow clone as it is.").default("false"),
        key("allowUnshallow", Flag, "Whether missing history may be fetched.").default("true"),
        key("allowFetchOriginBranchesAndTags", Flag, "Whether cleanup may fetch branches and tags.").default("true"),
    ]],
    choices: &[],
};

/// The keys of every image.
const COMMON: &[Key] = &[
    key("image", Names, "Name of the image, or a list of names for images that are otherwise the same."),
    key("final", Flag, "Whether the image is a result: published and given to the chart.").default("true"),
    key("cacheVersion", Text, "Partitions the stages of the image."),
    key("platform", Texts, "Platforms the image is built for: `os/arch` or `os/arch/variant`."),
    key("network", Text, "Network of commands while building: `default`, `host` or `none`."),
    key("secrets", List(&SECRET), "What commands may read while building, and what never becomes part of an image."),
    key("dependencies", List(&DEPENDENCY), "Images that are built before, and facts about them as variables."),
    key("imageSpec", Section(&IMAGE_SPEC), "What the configuration of the finished image says."),
];

/// An image with `dockerfile`.
pub static DOCKERFILE_IMAGE: Shape = Shape {
    title: "an image with `dockerfile`",
    doc: "An image built from a Dockerfile.",
    groups: &[
        COMMON,
        &[
            key("dockerfile", Text, "Path of the Dockerfile, relative to `context`.").needed(),
            key("context", Text, "Folder of the build context, relative to the project.").default("the project"),
            key("contextAddFiles", Strings, "Files of the disk that join the context; needs a rule of giterminism."),
            key("contextAddFile", Strings, "Files of the disk that join the context.").old("use `contextAddFiles`"),
            key("target", Text, "The stage of the Dockerfile that is built.").default("the last stage"),
            key("args", Map, "Values of build arguments."),
            key("addHost", Strings, "Further names of hosts while building: `name:address`."),
            key("ssh", Text, "Agents or keys for `RUN --mount=type=ssh`."),
            key("staged", Flag, "Whether it is built stage by stage.").default("build.staged"),
        ],
    ],
    choices: &[Chosen::Some(&["image"]), Chosen::AtMostOne(&["contextAddFiles", "contextAddFile"])],
};

/// An image of instructions.
pub static STAPEL_IMAGE: Shape = Shape {
    title: "an image",
    doc: "An image built from a base, git mappings, commands and imports.",
    groups: &[
        COMMON,
        &[
            key("artifact", Text, "Name of an image that is no result.").old("use `image` and `final: false`"),
            key("from", Text, "The base: an image of the project, or a reference of another one. `scratch` is empty."),
            key("fromImage", Text, "The base, an image of the project.").old("use `from`"),
            key("fromArtifact", Text, "The base, an artifact of the project.").old("use `from`"),
            key("fromLatest", Flag, "Whether a base follows its tag; needs a rule of giterminism.").default("false"),
            key("fromCacheVersion", Text, "Partitions the stages by a text, from the base on."),
            key("disableGitAfterPatch", Flag, "Leaves later git stages out.").default("false"),
            key("git", List(&GIT_MAPPING), "Files of git that become part of the image."),
            key("shell", Section(&SHELL), "Commands of the four user stages."),
            key("ansible", Section(&ANSIBLE), "Tasks of the four user stages.").old("use `shell`"),
            key("docker", Section(&DOCKER), "Instructions for the configuration of the image."),
            key("import", List(&IMPORT), "Files of other images."),
            key("mount", List(&MOUNT), "Folders that are there while building, and not part of the image."),
        ],
    ],
    choices: &[
        Chosen::Some(&["image", "artifact"]),
        Chosen::Some(&["from", "fromImage", "fromArtifact"]),
        Chosen::AtMostOne(&["shell", "ansible"]),
        Chosen::AtMostOne(&["docker", "imageSpec"]),
    ],
};

/// An item of `secrets`.
pub static SECRET: Shape = Shape {
    title: "a secret",
    doc: "A secret for commands, from one of three sources; each needs a rule of giterminism.",
    groups: &[&[
        key("id", Text, "Its name in `/run/secrets`; that of the variable or file by default."),
        key("env", Text, "A variable of the environment."),
        key("src", Text, "A file of the disk."),
        key("value", Text, "The secret itself; needs `id`."),
    ]],
    choices: &[Chosen::One(&["env", "src", "value"])],
};

/// An item of `dependencies`.
pub static DEPENDENCY: Shape = Shape {
    title: "a dependency",
    doc: "An image that is built before this one.",
    groups: &[&[
        key("image", Text, "The image of the project."),
        key("from", Text, "The image of the project; another spelling of `image`."),
        key("before", Choice(&["install", "setup"]), "Stage before which the facts are there; not with `dockerfile`."),
        key("after", Choice(&["install", "setup"]), "Stage after which the facts are there; not with `dockerfile`."),
        key("imports", List(&DEPENDENCY_IMPORT), "Facts about the image."),
    ]],
    choices: &[Chosen::One(&["image", "from"])],
};

/// An item of `imports` of a dependency.
pub static DEPENDENCY_IMPORT: Shape = Shape {
    title: "an import of a dependency",
    doc: "A fact about an image as a variable or a build argument.",
    groups: &[&[
        key("type", Choice(&["ImageName", "ImageTag", "ImageRepo", "ImageID", "ImageDigest"]), "Which fact.").needed(),
        key("targetEnv", Text, "The variable; in images without `dockerfile`."),
        key("targetBuildArg", Text, "The build argument; in images with `dockerfile`."),
    ]],
    choices: &[],
};

/// `imageSpec`.
pub static IMAGE_SPEC: Shape = Shape {
    title: "`imageSpec`",
    doc: "What the configuration of the finished image says.",
    groups: &[SPEC_HEAD, &[key("config", Section(&SPEC_CONFIG), "The part that containers see.")]],
    choices: &[],
};

/// `build.imageSpec`.
pub static GLOBAL_IMAGE_SPEC: Shape = Shape {
    title: "`imageSpec`",
    doc: "What the configuration of all final images says.",
    groups: &[
        SPEC_HEAD,
        &[key("config", Section(&GLOBAL_SPEC_CONFIG), "The part that makes sense for all images at once.")],
    ],
    choices: &[],
};

const SPEC_HEAD: &[Key] = &[
    key("author", Text, "The author."),
    key("clearHistory", Flag, "Whether the history is left out.").default("false"),
];

const SPEC_LABELS: &[Key] = &[
    key("labels", Map, "Labels; `%image%` and `%project%` stand for the names."),
    key("removeLabels", Texts, "Labels of the base to take away: names or `/expressions/`."),
    key("keepEssentialWerfLabels", Flag, "Whether no warning tells that essential labels stay.").default("false"),
    key("clearWerfLabels", Flag, "Has no effect; as in werf."),
];

/// `imageSpec.config`.
pub static SPEC_CONFIG: Shape = Shape {
    title: "`imageSpec.config`",
    doc: "The part of an image's configuration that containers see.",
    groups: &[
        SPEC_LABELS,
        &[
            key("removeEnv", Texts, "Variables of the base to take away: names or `/expressions/`."),
            key("removeVolumes", Texts, "Volumes of the base to take away."),
            key("volumes", Texts, "Volumes."),
            key("expose", Texts, "Ports: `80`, `80/udp`."),
            key("cmd", Texts, "The command, word by word."),
            key("entrypoint", Texts, "The entrypoint, word by word; takes the command of the base away."),
            key("env", Map, "Variables; `${NAME}` is that of the base."),
            key("user", Text, "The user."),
            key("workingDir", Text, "The working directory."),
            key("stopSignal", Text, "The signal that stops a container."),
            key("healthcheck", Section(&HEALTHCHECK), "How a container is checked."),
            key("clearCmd", Flag, "Takes the command of the base away.").default("false"),
            key("clearEntrypoint", Flag, "Takes the entrypoint of the base away.").default("false"),
            key("clearUser", Flag, "Takes the user of the base away.").default("false"),
            key("clearWorkingDir", Flag, "Takes the working directory of the base away.").default("false"),
        ],
    ],
    choices: &[],
};

/// `build.imageSpec.config`.
pub static GLOBAL_SPEC_CONFIG: Shape = Shape {
    title: "`imageSpec.config`",
    doc: "The part of the configuration that makes sense for all images at once.",
    groups: &[SPEC_LABELS],
    choices: &[],
};

/// `imageSpec.config.healthcheck`.
pub static HEALTHCHECK: Shape = Shape {
    title: "`healthcheck`",
    doc: "How a container is checked.",
    groups: &[&[
        key("test", Texts, "The command: `[CMD, …]`, `[CMD-SHELL, …]` or `[NONE]`."),
        key("interval", Seconds, "Time between checks."),
        key("timeout", Seconds, "How long a check may take."),
        key("startPeriod", Seconds, "How long failures do not count at first."),
        key("startperiod", Seconds, "Another spelling of `startPeriod`."),
        key("retries", Integer, "Failures before the container is unhealthy."),
    ]],
    choices: &[],
};

/// An item of `git`.
pub static GIT_MAPPING: Shape = Shape {
    title: "a git mapping",
    doc: "Files of the project, or of another repository, that become part of the image.",
    groups: &[&[
        key("add", Text, "File or folder, from the root of the project or of the repository.").default("/"),
        key("to", Text, "Where it comes to be in the image.").needed(),
        key("owner", Text, "Name or number of the user.").default("root"),
        key("group", Text, "Name or number of the group.").default("root"),
        key("includePaths", Strings, "Patterns of what is taken, relative to `add`."),
        key("excludePaths", Strings, "Patterns of what is not taken, relative to `add`."),
        key(
            "stageDependencies",
            Section(&STAGE_DEPENDENCIES),
            "Files whose change runs the commands of a stage again.",
        ),
        key("url", Text, "Address of another repository."),
        key("branch", Text, "Branch of the other repository; needs a rule of giterminism."),
        key("tag", Text, "Tag of the other repository."),
        key("commit", Text, "Commit of the other repository."),
        key("basicAuth", Section(&BASIC_AUTH), "User and password of the other repository."),
    ]],
    choices: &[Chosen::AtMostOne(&["branch", "tag", "commit"])],
};

/// `stageDependencies` of a git mapping.
pub static STAGE_DEPENDENCIES: Shape = Shape {
    title: "`stageDependencies`",
    doc: "Patterns, relative to `add`, of files whose change runs the commands of a stage again.",
    groups: &[&[
        key("install", Strings, "For the stage `install`."),
        key("beforeSetup", Strings, "For the stage `beforeSetup`."),
        key("setup", Strings, "For the stage `setup`."),
    ]],
    choices: &[],
};

/// `basicAuth`.
pub static BASIC_AUTH: Shape = Shape {
    title: "`basicAuth`",
    doc: "User and password of a repository.",
    groups: &[&[
        key("username", Text, "The user."),
        key("password", Section(&PASSWORD), "Where the password comes from."),
    ]],
    choices: &[],
};

/// `basicAuth.password`.
pub static PASSWORD: Shape = Shape {
    title: "`password`",
    doc: "One source of a password.",
    groups: &[&[
        key("env", Text, "A variable of the environment."),
        key("src", Text, "A file of the disk."),
        key("value", Text, "The password itself."),
    ]],
    choices: &[Chosen::One(&["env", "src", "value"])],
};

const STAGE_VERSIONS: &[Key] = &[
    key("cacheVersion", Text, "Partitions the four stages."),
    key("beforeInstallCacheVersion", Text, "Partitions `beforeInstall` and what comes after."),
    key("installCacheVersion", Text, "Partitions `install` and what comes after."),
    key("beforeSetupCacheVersion", Text, "Partitions `beforeSetup` and what comes after."),
    key("setupCacheVersion", Text, "Partitions `setup` and what comes after."),
];

/// `shell`.
pub static SHELL: Shape = Shape {
    title: "`shell`",
    doc: "Commands of the four user stages.",
    groups: &[
        &[
            key("beforeInstall", Strings, "Commands before files of git are there."),
            key("install", Strings, "Commands that install what the application needs."),
            key("beforeSetup", Strings, "Commands before the setup."),
            key("setup", Strings, "Commands that set the application up."),
        ],
        STAGE_VERSIONS,
    ],
    choices: &[],
};

/// `ansible`.
pub static ANSIBLE: Shape = Shape {
    title: "`ansible`",
    doc: "Tasks of the four user stages.",
    groups: &[
        &[
            key("beforeInstall", Items, "Tasks before files of git are there."),
            key("install", Items, "Tasks that install what the application needs."),
            key("beforeSetup", Items, "Tasks before the setup."),
            key("setup", Items, "Tasks that set the application up."),
        ],
        STAGE_VERSIONS,
    ],
    choices: &[],
};

/// `docker`.
pub static DOCKER: Shape = Shape {
    title: "`docker`",
    doc: "Instructions for the configuration of the image; `imageSpec` says the same and more.",
    groups: &[&[
        key("VOLUME", Strings, "Volumes."),
        key("EXPOSE", Strings, "Ports, in quotes."),
        key("ENV", Map, "Variables."),
        key("LABEL", Map, "Labels."),
        key("CMD", Strings, "The command: a text for the shell, or a list of words."),
        key("ENTRYPOINT", Strings, "The entrypoint: a text for the shell, or a list of words."),
        key("WORKDIR", Text, "The working directory."),
        key("USER", Text, "The user."),
        key("HEALTHCHECK", Text, "How a container is checked, as in a Dockerfile."),
        key("exactValues", Flag, "Takes values as they are, without expansion.").default("false"),
    ]],
    choices: &[],
};

/// An item of `import`.
pub static IMPORT: Shape = Shape {
    title: "an import",
    doc: "Files of another image.",
    groups: &[&[
        key("from", Text, "An image of the project, or a reference with a tag or digest."),
        key("image", Text, "An image of the project.").old("use `from`"),
        key("artifact", Text, "An artifact of the project.")
            .old("use `from`, and declare the artifact as an image with `final: false`"),
        key("before", Choice(&["install", "setup"]), "Stage before which the files are there; either this or `after`."),
        key("after", Choice(&["install", "setup"]), "Stage after which the files are there; either this or `before`."),
        key(
            "stage",
            Choice(&["beforeInstall", "install", "beforeSetup", "setup"]),
            "Stage of the source whose files are taken.",
        )
        .default("the last stage"),
        key("add", Text, "Absolute path of a file or folder in the source.").needed(),
        key("to", Text, "Absolute path where it comes to be.").default("add"),
        key("owner", Text, "Name or number of the user."),
        key("group", Text, "Name or number of the group."),
        key("includePaths", Strings, "Patterns of what is taken, relative to `add`."),
        key("excludePaths", Strings, "Patterns of what is not taken, relative to `add`."),
    ]],
    choices: &[Chosen::One(&["from", "image", "artifact"]), Chosen::One(&["before", "after"])],
};

/// An item of `mount`.
pub static MOUNT: Shape = Shape {
    title: "a mount",
    doc: "A folder that is there while building.",
    groups: &[&[
        key("to", Text, "Absolute path in the image.").needed(),
        key("from", Choice(&["tmp_dir", "build_dir"]), "A new folder for each build, or one that outlives builds."),
        key("fromPath", Text, "A path of the host; needs a rule of giterminism."),
    ]],
    choices: &[Chosen::One(&["from", "fromPath"])],
};

/// werf-giterminism.yaml.
pub static GITERMINISM: Shape = Shape {
    title: "werf-giterminism.yaml",
    doc: "What may depend on more than the commit. What is not allowed here is refused.",
    groups: &[&[
        key("giterminismConfigVersion", Integer, "The version of the language: 1.").needed(),
        key("cli", Section(&GITERMINISM_CLI), "The command line."),
        key("config", Section(&GITERMINISM_CONFIG), "werf.yaml."),
        key("helm", Section(&GITERMINISM_HELM), "The chart."),
        key("includes", Section(&GITERMINISM_INCLUDES), "werf-includes.yaml."),
    ]],
    choices: &[],
};

/// `cli`.
pub static GITERMINISM_CLI: Shape = Shape {
    title: "`cli`",
    doc: "What the command line may do.",
    groups: &[&[key("allowCustomTags", Flag, "Tags of the user's choice.").default("false")]],
    choices: &[],
};

/// `config`.
pub static GITERMINISM_CONFIG: Shape = Shape {
    title: "`config`",
    doc: "What werf.yaml may depend on.",
    groups: &[&[
        key("allowUncommitted", Flag, "werf.yaml itself may differ from the commit.").default("false"),
        key("allowUncommittedTemplates", Strings, "Patterns of templates that may differ from the commit."),
        key("goTemplateRendering", Section(&GITERMINISM_TEMPLATES), "Templates of werf.yaml."),
        key("secrets", Section(&GITERMINISM_SECRETS), "`secrets` of images."),
        key("stapel", Section(&GITERMINISM_STAPEL), "Images of instructions."),
        key("dockerfile", Section(&GITERMINISM_DOCKERFILE), "Images with `dockerfile`."),
    ]],
    choices: &[],
};

/// `config.goTemplateRendering`.
pub static GITERMINISM_TEMPLATES: Shape = Shape {
    title: "`goTemplateRendering`",
    doc: "What templates of werf.yaml may read.",
    groups: &[&[
        key("allowEnvVariables", Strings, "Variables for `env`: names or `/expressions/`."),
        key("allowUncommittedFiles", Strings, "Patterns of files for `.Files` that may differ from the commit."),
    ]],
    choices: &[],
};

/// `config.secrets`.
pub static GITERMINISM_SECRETS: Shape = Shape {
    title: "`secrets`",
    doc: "Which secrets images may have.",
    groups: &[&[
        key("allowEnvVariables", Strings, "Names of variables."),
        key("allowFiles", Strings, "Patterns of files."),
        key("allowValueIds", Strings, "Ids of secrets with `value`."),
    ]],
    choices: &[],
};

/// `config.stapel`.
pub static GITERMINISM_STAPEL: Shape = Shape {
    title: "`stapel`",
    doc: "What images of instructions may do.",
    groups: &[&[
        key("allowFromLatest", Flag, "`fromLatest`.").default("false"),
        key("git", Section(&GITERMINISM_GIT), "Git mappings."),
        key("mount", Section(&GITERMINISM_MOUNT), "Mounts."),
    ]],
    choices: &[],
};

/// `config.stapel.git`.
pub static GITERMINISM_GIT: Shape = Shape {
    title: "`git`",
    doc: "What git mappings may do.",
    groups: &[&[key("allowBranch", Flag, "Mappings that follow a branch of another repository.").default("false")]],
    choices: &[],
};

/// `config.stapel.mount`.
pub static GITERMINISM_MOUNT: Shape = Shape {
    title: "`mount`",
    doc: "What may be mounted.",
    groups: &[&[
        key("allowBuildDir", Flag, "`from: build_dir`.").default("false"),
        key("allowFromPaths", Strings, "Patterns for `fromPath`."),
    ]],
    choices: &[],
};

/// `config.dockerfile`.
pub static GITERMINISM_DOCKERFILE: Shape = Shape {
    title: "`dockerfile`",
    doc: "What images with `dockerfile` may depend on.",
    groups: &[&[
        key("allowUncommitted", Strings, "Patterns of Dockerfiles that may differ from the commit."),
        key("allowUncommittedDockerignoreFiles", Strings, "Patterns of .dockerignore files that may differ."),
        key("allowContextAddFiles", Strings, "Patterns for `contextAddFiles`."),
    ]],
    choices: &[],
};

/// `helm`.
pub static GITERMINISM_HELM: Shape = Shape {
    title: "`helm`",
    doc: "What the chart may depend on.",
    groups: &[&[key("allowUncommittedFiles", Strings, "Patterns of chart files that may differ from the commit.")]],
    choices: &[],
};

/// `includes`.
pub static GITERMINISM_INCLUDES: Shape = Shape {
    title: "`includes`",
    doc: "What includes may do.",
    groups: &[&[
        key("allowIncludesUpdate", Flag, "References resolved anew instead of those of the lock.").default("false")
    ]],
    choices: &[],
};

/// werf-includes.yaml.
pub static INCLUDES: Shape = Shape {
    title: "werf-includes.yaml",
    doc: "Files of other repositories that the project reads as if they were its own.",
    groups: &[&[key("includes", List(&INCLUDE), "The repositories, in order; later ones win.")]],
    choices: &[],
};

/// An item of `includes`.
pub static INCLUDE: Shape = Shape {
    title: "an include",
    doc: "Files of one repository.",
    groups: &[&[
        key("git", Text, "Address of the repository, or a folder.").needed(),
        key("branch", Text, "Branch; one of branch, tag and commit."),
        key("tag", Text, "Tag; one of branch, tag and commit."),
        key("commit", Text, "Commit; one of branch, tag and commit."),
        key("add", Text, "File or folder in the repository, from its root.").needed(),
        key("to", Text, "Where it comes to be in the project, from its root.").needed(),
        key("includePaths", Strings, "Patterns of what is taken, relative to `add`."),
        key("excludePaths", Strings, "Patterns of what is not taken, relative to `add`."),
        key("basicAuth", Section(&BASIC_AUTH), "User and password."),
    ]],
    choices: &[Chosen::One(&["branch", "tag", "commit"])],
};
