//! Values: laid over each other layer by layer.

use super::tree::{Data, TreeMap};

/// Lays `over` on `base`: tables merge, everything else replaces, null included. Source: Helm's merge of `-f` files.
pub fn merge(base: &mut TreeMap, over: TreeMap) {
    for (key, value) in over {
        match (base.get_mut(&key).map(|v| &mut v.data), value) {
            (Some(Data::Map(below)), super::tree::Tree { data: Data::Map(above), .. }) => merge(below, above),
            (_, value) => {
                base.insert(key, value);
            }
        }
    }
}
