//! What stands for the network in a build without the feature `registry`.

use super::{Access, AccessRule};
use crate::backend::CredentialSource;
use crate::ports::{ChartSource, FetchError, Wanted};

/// Charts from nowhere.
#[derive(Debug)]
pub struct NetworkCharts;

impl NetworkCharts {
    /// Takes what the real one takes.
    pub fn new(_: &Access, _: Vec<AccessRule>, _: Vec<CredentialSource>) -> Self {
        Self
    }
}

fn refused(place: &str) -> FetchError {
    let fault = "this build has no network: it was made without the feature `registry`".to_owned();
    FetchError::Unusable { place: place.to_owned(), fault }
}

impl ChartSource for NetworkCharts {
    fn get(&self, _: &str, _: Wanted) -> Result<Vec<u8>, FetchError> {
        Err(refused("the address"))
    }

    fn tags(&self, repository: &str) -> Result<Vec<String>, FetchError> {
        Err(refused(repository))
    }

    fn pull(&self, repository: &str, _: &str) -> Result<Vec<u8>, FetchError> {
        Err(refused(repository))
    }
}
