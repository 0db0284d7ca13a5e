//! YAML as Helm and werf read it (the YAML 1.1 of go-yaml v2), and as Helm writes it.
//!
//! What lives here: the position-carrying tree [`Node`], the parser ([`parse_documents`], [`decode`]), the
//! writer ([`Writer`], [`to_yaml`]). What does not: splitting of werf.yaml or of rendered files into documents, and any
//! meaning of the keys.
//!
//! The one idea: a scalar keeps both what it resolves to and its source text, so that the reader decides which of the
//! two it wants (`1.10` is the float 1.1 to Helm and the text `1.10` to werf.yaml).

mod compose;
mod emit;
mod event;
mod number;
mod order;
mod parse;
mod resolve;
mod scan;
mod tree;

pub use compose::{
    Documents, Duplicate, Keys, MAX_DEPTH, Options, YamlError, decode, decode_all, parse_documents, parse_range,
    text_of_bytes,
};
pub use emit::{Layout, Unwritable, Writer, manifest_yaml, node_to_yaml, to_yaml};
pub use number::{json_number, write_float_g};
pub use order::{natural_order, sort_naturally};
pub use resolve::{is_timestamp, resolve_plain};
pub use tree::{Data, Entry, Mapping, Node, Plain, Style};
