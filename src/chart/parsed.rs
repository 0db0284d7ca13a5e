//! Parsed templates, shared by all renderings of a chart: of every release, environment and values file.
//!
//! The one idea: which templates take part depends on the values, for they switch subcharts; so a set is known by the
//! texts that are in it and by the functions they may call.

use std::sync::{Arc, Mutex, PoisonError};

use crate::diag::Diagnostics;
use crate::eval::{FunctionSet, SetOptions, TemplateSet};
use crate::source::{FileId, Sources};

/// How many sets are kept: those of charts whose values switch subcharts in more ways are parsed again.
const KEPT: usize = 8;

/// The sets that were parsed. Copies share them.
#[derive(Clone, Debug, Default)]
pub(super) struct ParsedTemplates(Arc<Mutex<Vec<Arc<Parsed>>>>);

#[derive(Debug)]
struct Parsed {
    texts: Vec<(String, FileId)>,
    set: Arc<TemplateSet>,
}

impl ParsedTemplates {
    /// Returns the set of these texts, parsed now or before; faults go to `diagnostics`, and then nothing is kept.
    pub fn get(
        &self,
        diagnostics: &mut Diagnostics,
        sources: &Sources,
        functions: Arc<FunctionSet>,
        texts: &[(&str, FileId)],
    ) -> Arc<TemplateSet> {
        let same = |parsed: &Parsed| {
            let known = parsed.texts.iter().map(|(name, file)| (name.as_str(), *file));
            parsed.set.calls(&functions) && known.eq(texts.iter().copied())
        };
        if let Some(found) = self.sets().iter().find(|parsed| same(parsed)) {
            return found.set.clone();
        }
        let mut found = Diagnostics::new();
        let mut set = TemplateSet::new(SetOptions { functions, ..SetOptions::helm() });
        set.parse_all(&mut found, sources, texts);
        let set = Arc::new(set);
        if found.as_slice().is_empty() {
            let texts = texts.iter().map(|(name, file)| ((*name).to_owned(), *file)).collect();
            let mut sets = self.sets();
            if sets.len() >= KEPT {
                sets.remove(0);
            }
            sets.push(Arc::new(Parsed { texts, set: set.clone() }));
        }
        diagnostics.extend(found);
        set
    }

    fn sets(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Parsed>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_are_parsed_once_and_faulty_ones_again() {
        let (mut d, sources) = (Diagnostics::new(), Sources::new());
        let good = sources.add("a", "{{ .Values.a }}");
        let bad = sources.add("b", "{{ if }}");
        let parsed = ParsedTemplates::default();
        let mut get = |texts: &[(&str, FileId)]| parsed.get(&mut d, &sources, FunctionSet::helm(), texts);
        let first = get(&[("a", good)]);
        assert!(Arc::ptr_eq(&first, &get(&[("a", good)])));
        assert!(!Arc::ptr_eq(&first, &get(&[("a2", good)])), "another name is another template");
        let mut faults = |_| {
            let mut d = Diagnostics::new();
            parsed.get(&mut d, &sources, FunctionSet::helm(), &[("b", bad)]);
            d.as_slice().len()
        };
        let told = [0, 1].map(&mut faults);
        assert!(told[0] > 0 && told[0] == told[1], "a fault is told each time: {told:?}");
    }
}
