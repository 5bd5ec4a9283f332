//! Names of streams and subjects under one prefix, so that several services may share a NATS account.

use sha2::{Digest, Sha256};
use uuid::Uuid;

/// Names of the streams and subjects of one service.
#[derive(Debug, Clone)]
pub(super) struct Names {
    prefix: String,
}

impl Names {
    pub(super) fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned() }
    }

    /// The stream of commits, such as `RT_LOG`.
    pub(super) fn log(&self) -> String {
        self.stream("LOG")
    }

    /// The stream of leases.
    pub(super) fn lease(&self) -> String {
        self.stream("LEASE")
    }

    /// The stream of artifacts' bytes.
    pub(super) fn blob(&self) -> String {
        self.stream("BLOB")
    }

    fn stream(&self, name: &str) -> String {
        format!("{}_{name}", self.prefix.to_uppercase())
    }

    /// Everything under the prefix and a kind.
    pub(super) fn all(&self, kind: &str) -> String {
        format!("{}.{kind}.>", self.prefix)
    }

    /// A subject under the prefix.
    pub(super) fn subject(&self, kind: &str, rest: impl std::fmt::Display) -> String {
        format!("{}.{kind}.{rest}", self.prefix)
    }

    pub(super) fn job(&self, id: Uuid) -> String {
        self.subject("job", id)
    }

    pub(super) fn artifact(&self, id: Uuid) -> String {
        self.subject("art", id)
    }

    /// The subject of a tenant's request id. Neither is a valid token, nor need others read them.
    pub(super) fn request(&self, tenant: &str, request_id: &str) -> String {
        let mut hash = Sha256::new();
        hash.update((tenant.len() as u64).to_be_bytes());
        hash.update(tenant);
        hash.update(request_id);
        self.subject("req", format!("{:x}", hash.finalize()))
    }

    /// The part of a subject after the prefix and its kind.
    pub(super) fn rest<'a>(&self, subject: &'a str) -> Option<(&'a str, &'a str)> {
        subject.strip_prefix(&self.prefix)?.strip_prefix('.')?.split_once('.')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_under_the_prefix_and_tell_tenants_apart() {
        let names = Names::new("rt");
        assert_eq!((names.log(), names.all("job")), ("RT_LOG".to_owned(), "rt.job.>".to_owned()));
        assert_ne!(names.request("ab", "c"), names.request("a", "bc"));
        assert_eq!(names.rest("rt.job.x.y"), Some(("job", "x.y")));
        assert_eq!(names.rest("other.job.x"), None);
    }
}
