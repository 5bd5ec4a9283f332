//! API keys: a file of SHA-256 hashes, reloaded when it changes, that maps each key to a tenant and scopes.
//!
//! A key's SHA-256 is compared with every hash of the file in constant time; neither keys nor hashes are logged.

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use http::{HeaderMap, header};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tonic::Code;

use crate::server::{refusal::Refusal, stamp::Stamp};

/// Header with an API key, as an alternative to `authorization: Bearer`.
pub const API_KEY: &str = "x-api-key";
/// Tenant of every caller when no keys file is configured.
pub const LOCAL: &str = "local";
/// Key id of every caller when no keys file is configured.
pub const ANONYMOUS: &str = "anonymous";
/// Longest key id or tenant name, in characters.
const NAME_LENGTH: usize = 63;

/// Permissions of a key; neither scope includes the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Every method of the service, on resources of the key's own tenant.
    Edit,
    /// `GetServerInfo`, and setting the log level from another machine.
    Admin,
}

/// An authenticated caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Tenant whose jobs and artifacts the caller may access.
    pub tenant: String,
    /// Id of the presented key.
    pub key_id: String,
    /// Permissions of the key.
    pub scopes: Vec<Scope>,
}

impl Caller {
    /// The caller when no keys file is configured: tenant `local`, every scope.
    pub fn local() -> Self {
        let scopes = vec![Scope::Edit, Scope::Admin];
        Self { tenant: LOCAL.to_owned(), key_id: ANONYMOUS.to_owned(), scopes }
    }

    /// Whether the caller has a scope.
    pub fn may(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope)
    }
}

/// One `[[key]]` entry of a keys file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyRecord {
    /// Unique id of the key, in logs and rate limits.
    pub id: String,
    /// Tenant of the key.
    pub tenant: String,
    /// SHA-256 of the key's characters, as 64 hexadecimal digits.
    pub sha256: String,
    /// Permissions of the key.
    pub scopes: Vec<Scope>,
}

/// Contents of a keys file.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyRecords {
    /// Its keys; without any, every call is refused.
    #[serde(default)]
    pub key: Vec<KeyRecord>,
}

/// Why a keys file is refused. The file's text is never repeated.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// It can't be read.
    #[error("{path} can't be read")]
    Read {
        /// The file.
        path: PathBuf,
        /// The underlying error.
        source: std::io::Error,
    },
    /// It is not TOML of the expected structure.
    #[error("{path}, line {line}: {reason}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Line number, from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// A field of a key is invalid.
    #[error("{path}, key {number}: {reason}")]
    Key {
        /// The file.
        path: PathBuf,
        /// Number of the key in the file, from 1.
        number: usize,
        /// What is wrong.
        reason: &'static str,
    },
}

/// The accepted keys.
#[derive(Debug)]
pub struct Keys {
    file: Option<KeysFile>,
}

/// A keys file with its last valid contents.
#[derive(Debug)]
struct KeysFile {
    path: PathBuf,
    read: Mutex<Read>,
}

#[derive(Debug)]
struct Read {
    stamp: Stamp,
    keys: Arc<Vec<Key>>,
}

#[derive(derive_more::Debug)]
struct Key {
    #[debug(skip)]
    hash: [u8; 32],
    caller: Caller,
}

impl Keys {
    /// Loads a keys file; without a file everyone is admitted as [`Caller::local`].
    ///
    /// # Errors
    /// [`KeysError`] if the file can't be read or is invalid.
    pub fn open(path: Option<&Path>) -> Result<Self, KeysError> {
        let Some(path) = path else { return Ok(Self { file: None }) };
        let stamp = Stamp::of(&[path]);
        let keys = Arc::new(read(path)?);
        let read = Mutex::new(Read { stamp, keys });
        Ok(Self { file: Some(KeysFile { path: path.to_owned(), read }) })
    }

    /// Authenticates a call by the headers `x-api-key` or `authorization: Bearer`.
    ///
    /// # Errors
    /// An UNAUTHENTICATED refusal with reason `BAD_KEY` if keys are configured and none, or an unknown one, is
    /// presented.
    pub fn caller(&self, headers: &HeaderMap) -> Result<Caller, Refusal> {
        if self.file.is_none() {
            return Ok(Caller::local());
        }
        let Some(shown) = shown(headers) else {
            let said = "no key: send it as `x-api-key` or `authorization: Bearer`";
            return Err(Refusal::new(Code::Unauthenticated, "BAD_KEY", said));
        };
        self.find(shown)
            .ok_or_else(|| Refusal::new(Code::Unauthenticated, "BAD_KEY", "the key is not known"))
    }

    /// Whether the headers have a key with a scope. False without a keys file.
    pub fn shows(&self, headers: &HeaderMap, scope: Scope) -> bool {
        shown(headers).and_then(|it| self.find(it)).is_some_and(|it| it.may(scope))
    }

    /// Compares with every key, so that the duration reveals nothing about the keys.
    fn find(&self, shown: &[u8]) -> Option<Caller> {
        let keys = self.file.as_ref()?.now();
        let hash = hash(shown);
        let mut found = None;
        for key in keys.iter() {
            if bool::from(key.hash.ct_eq(&hash)) {
                found = Some(&key.caller);
            }
        }
        found.cloned()
    }
}

impl KeysFile {
    /// The keys, reloaded if the file has changed; if it has become invalid, the previous ones stay in use.
    fn now(&self) -> Arc<Vec<Key>> {
        let stamp = Stamp::of(&[&self.path]);
        // The state stays consistent even if a thread panicked while holding the lock.
        let mut last = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if last.stamp != stamp {
            last.stamp = stamp;
            match read(&self.path) {
                Ok(keys) => {
                    tracing::info!(path = %self.path.display(), keys = keys.len(), "keys file reloaded");
                    last.keys = Arc::new(keys);
                }
                Err(error) => {
                    let error: &dyn std::error::Error = &error;
                    tracing::error!(
                        error,
                        "the changed keys file is invalid; the previous keys stay in use"
                    );
                }
            }
        }
        Arc::clone(&last.keys)
    }
}

/// SHA-256 of a key.
pub fn hash(key: &[u8]) -> [u8; 32] {
    Sha256::digest(key).into()
}

/// The key in the headers.
fn shown(headers: &HeaderMap) -> Option<&[u8]> {
    if let Some(key) = headers.get(API_KEY) {
        return Some(key.as_bytes());
    }
    let (scheme, key) = headers.get(header::AUTHORIZATION)?.as_bytes().split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| key.trim_ascii())
}

fn read(path: &Path) -> Result<Vec<Key>, KeysError> {
    let text = fs::read_to_string(path)
        .map_err(|source| KeysError::Read { path: path.to_owned(), source })?;
    let records: KeyRecords = toml::from_str(&text).map_err(|error| {
        // The error's own text quotes the line, which may contain a key by mistake.
        let end = error.span().map_or(0, |it| it.start.min(text.len()));
        let line = text[..end].matches('\n').count() + 1;
        KeysError::Parse { path: path.to_owned(), line, reason: error.message().to_owned() }
    })?;
    let mut ids = HashSet::new();
    let mut keys = Vec::new();
    for (index, record) in records.key.into_iter().enumerate() {
        let fault = |reason| KeysError::Key { path: path.to_owned(), number: index + 1, reason };
        if !is_name(&record.id) || !is_name(&record.tenant) {
            return Err(fault("id and tenant are 1 to 63 letters, digits, `.`, `_` or `-`"));
        }
        if record.id == ANONYMOUS {
            return Err(fault("the id `anonymous` is that of callers without keys"));
        }
        if !ids.insert(record.id.clone()) {
            return Err(fault("the id is that of an earlier key"));
        }
        if record.scopes.is_empty() {
            return Err(fault("scopes are empty; expected \"edit\", \"admin\" or both"));
        }
        let hash =
            unhex(&record.sha256).ok_or_else(|| fault("sha256 is not 64 hexadecimal digits"))?;
        let KeyRecord { id: key_id, tenant, scopes, .. } = record;
        keys.push(Key { hash, caller: Caller { tenant, key_id, scopes } });
    }
    Ok(keys)
}

/// Whether a text is valid as a key id or tenant name.
pub fn is_name(text: &str) -> bool {
    let fits = |it: char| it.is_ascii_alphanumeric() || matches!(it, '.' | '_' | '-');
    !text.is_empty() && text.len() <= NAME_LENGTH && text.chars().all(fits)
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.bytes().all(|it| it.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; 32];
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * index..2 * index + 2], 16).ok()?;
    }
    Some(bytes)
}
