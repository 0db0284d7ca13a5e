//! Charts over the network: one port over HTTP repositories and OCI registries.

use std::collections::BTreeMap;
use std::sync::Mutex;

use url::Url;

use super::access::access_for;
use super::{Access, AccessRule, http, oci};
use crate::backend::credentials::CredentialSource;
use crate::backend::runtime;
use crate::ports::{ChartSource, FetchError, Wanted};

/// Charts over the network.
pub struct NetworkCharts {
    default: Access,
    rules: Vec<AccessRule>,
    credentials: Vec<CredentialSource>,
    /// A client for each way of access and each thing wanted: making one reads the certificates of the system.
    clients: Mutex<BTreeMap<(usize, bool), reqwest::Client>>,
}

impl NetworkCharts {
    /// Says how servers are reached: `rules` for the servers they name, `default` without its secrets for all others.
    /// Of the sources of credentials the first that knows a registry counts.
    pub fn new(default: &Access, rules: Vec<AccessRule>, credentials: Vec<CredentialSource>) -> Self {
        runtime::prepare();
        Self { default: default.anonymous(), rules, credentials, clients: Mutex::default() }
    }

    fn access(&self, address: &Url) -> (usize, &Access) {
        let found = access_for(&self.rules, address);
        let index =
            found.and_then(|access| self.rules.iter().position(|rule| std::ptr::eq(&raw const rule.access, access)));
        (index.map_or(0, |index| index + 1), found.unwrap_or(&self.default))
    }

    fn client(
        &self,
        index: usize,
        access: &Access,
        wanted: Wanted,
        place: &str,
    ) -> Result<reqwest::Client, FetchError> {
        let mut clients = self.clients.lock().expect("no holder of the lock panics");
        let key = (index, wanted == Wanted::Index);
        if let Some(client) = clients.get(&key) {
            return Ok(client.clone());
        }
        let made = http::client(access, wanted);
        let client = made.map_err(|source| FetchError::Failed { place: place.to_owned(), source })?;
        clients.insert(key, client.clone());
        Ok(client)
    }

    fn registry_access(&self, repository: &str) -> Access {
        let address = Url::parse(&format!("oci://{repository}"));
        address.map_or_else(|_| self.default.clone(), |url| self.access(&url).1.clone())
    }
}

impl ChartSource for NetworkCharts {
    fn get(&self, url: &str, wanted: Wanted) -> Result<Vec<u8>, FetchError> {
        let no_address = || FetchError::Unusable { place: "the address".to_owned(), fault: "it is no URL".to_owned() };
        let url = Url::parse(url).map_err(|_| no_address())?;
        let (index, access) = self.access(&url);
        let client = self.client(index, access, wanted, &http::shown(&url))?;
        runtime::block_on(http::get(&client, access, url, wanted))
    }

    fn tags(&self, repository: &str) -> Result<Vec<String>, FetchError> {
        let access = self.registry_access(repository);
        let reference = oci::reference(repository, "latest")?;
        let client = oci::client(&access, &format!("oci://{repository}"))?;
        let auth = oci::auth(&access, &reference, &self.credentials)?;
        runtime::block_on(oci::tags(&client, &auth, &reference))
    }

    fn pull(&self, repository: &str, tag: &str) -> Result<Vec<u8>, FetchError> {
        let access = self.registry_access(repository);
        let reference = oci::reference(repository, tag)?;
        let client = oci::client(&access, &format!("oci://{repository}"))?;
        let auth = oci::auth(&access, &reference, &self.credentials)?;
        runtime::block_on(oci::pull(&client, &auth, &reference))
    }
}
