//! How the files that the process may open are shared: each connection is one.

use crate::server::connections::ConnectionLimits;

/// Files for everything but connections: the journal, pictures, the model, the log, a collector.
const OWN: u64 = 48;
/// Most connections of the ops port, and fewest.
const OPS: (u64, u64) = (64, 8);
/// Fewest connections of the service that are worth a start.
const FEWEST: u64 = 8;

/// The connections that each port may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shares {
    /// Of the service.
    pub service: ConnectionLimits,
    /// Of the ops port, which nobody else can use up.
    pub ops: ConnectionLimits,
}

/// The process may open too few files.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the process may open {found} files, too few to serve; at least {least} are needed: raise `ulimit -n`"
)]
pub struct TooFew {
    /// As many as it may.
    found: u64,
    /// As many as it must.
    least: u64,
}

/// Raises the number of files that the process may open to the highest that it is allowed; that number.
pub fn raise() -> u64 {
    // What can't be asked is not bounded by us.
    rlimit::increase_nofile_limit(u64::MAX).unwrap_or(u64::MAX)
}

/// Shares so many files; the service gets what is wanted, or as many as there are.
///
/// # Errors
/// [`TooFew`] if no service could be had of them.
pub fn share(files: u64, wanted: u32, per_address: Option<u32>) -> Result<Shares, TooFew> {
    let ops = (files / 8).clamp(OPS.1, OPS.0);
    let most = files.saturating_sub(OWN + ops);
    if most < FEWEST {
        return Err(TooFew { found: files, least: OWN + OPS.1 + FEWEST });
    }
    let limits = |total: u64, per_address: Option<u32>| {
        let per_address = per_address.map_or(total.div_ceil(2), |it| u64::from(it).min(total));
        ConnectionLimits { total: total as usize, per_address: per_address as usize }
    };
    Ok(Shares { service: limits(most.min(wanted.into()), per_address), ops: limits(ops, None) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ops_port_and_the_process_keep_their_files() {
        let limits = |total, per_address| ConnectionLimits { total, per_address };
        let cases = [
            (1 << 20, 1024, None, limits(1024, 512), limits(64, 32)),
            (1 << 20, 1024, Some(1024), limits(1024, 1024), limits(64, 32)),
            (1 << 20, 4, Some(9), limits(4, 4), limits(64, 32)),
            (128, 1024, None, limits(64, 32), limits(16, 8)),
            (128, 1024, Some(50), limits(64, 50), limits(16, 8)),
            (64, 1024, None, limits(8, 4), limits(8, 4)),
        ];
        for (files, wanted, per_address, service, ops) in cases {
            assert_eq!(share(files, wanted, per_address), Ok(Shares { service, ops }), "{files}");
        }
        let error = share(63, 1024, None).unwrap_err();
        assert!(
            error.to_string().contains("63 files") && error.to_string().contains("at least 64"),
            "{error}"
        );
    }
}
