//! What one command needs, as data that is handed to our own program running again.
//!
//! The one idea: everything is decided outside. Paths in the image have been resolved, names of users are numbers,
//! whatever a mount needs to exist exists. Inside there is only doing.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// One command in its root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// The folder to which the paths of roots are relative: a list of layers has to be short.
    pub folder: PathBuf,
    /// The root of the command.
    pub root: Root,
    /// What is mounted into it, in order.
    pub mounts: Vec<Mount>,
    /// The program and its arguments.
    pub words: Vec<String>,
    /// The whole environment.
    pub environment: Vec<(String, String)>,
    /// The working directory; made where it is missing.
    pub working_dir: String,
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Further groups.
    pub groups: Vec<u32>,
    /// Whether it has the network of the host; else none.
    pub network: bool,
    /// The terminal that it gets, as the host knows it.
    pub terminal: Option<PathBuf>,
    /// What it reads, as the host knows it; else nothing. Its output is then that of the builder.
    pub stdin: Option<PathBuf>,
    /// Whether a process of ours stays in front of it: signals end it as they would on the host.
    pub stays: bool,
    /// Whether the program is one of the host, which reaches the root by entering it for each command.
    pub outside: bool,
    /// A file to which goes why the command could not be started.
    pub report: PathBuf,
}

/// Several folders seen as one. Unit of paths: relative to [`Spec::folder`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Root {
    /// Layers, the topmost first.
    pub lowers: Vec<String>,
    /// Where changes go; without it, nothing can be changed.
    pub upper: Option<Upper>,
    /// Where it is mounted. Without `lowers` this folder itself is the root.
    pub at: String,
}

/// Where the changes of a [`Root`] go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upper {
    /// The changes.
    pub changes: String,
    /// An empty folder of the same file system, for the kernel.
    pub work: String,
}

/// A mount; `at` is a real path in the root, without a leading slash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mount {
    /// `/proc`, with what the host keeps for itself masked.
    Proc,
    /// `/sys`, read-only.
    Sys,
    /// `/dev`, with the usual devices.
    Dev,
    /// A file or folder of the host.
    Bind {
        /// Where it is.
        source: PathBuf,
        /// Where it goes.
        at: String,
        /// Whether it can be changed.
        writable: bool,
    },
    /// A path of another root, read from its layers; changes are forgotten.
    Image {
        /// The root.
        root: Root,
        /// The real path in it.
        path: String,
        /// Where it goes.
        at: String,
        /// Whether it can be changed.
        writable: bool,
    },
    /// A folder in memory.
    Tmpfs {
        /// Where it goes.
        at: String,
        /// The most that it takes. Unit: bytes.
        size: Option<u64>,
    },
    /// A file in memory, which never reaches a disk.
    Secret {
        /// An empty folder, relative to [`Spec::folder`].
        folder: String,
        /// What it holds.
        content: Vec<u8>,
        /// Mode.
        mode: u32,
        /// Owner.
        uid: u32,
        /// Group.
        gid: u32,
        /// Where it goes.
        at: String,
    },
    /// A file in memory, in a folder of `/dev` that is made for it.
    Script {
        /// The path below `/dev`.
        name: String,
        /// What it holds.
        content: String,
    },
}
