//! Division of the process's file descriptor limit among the ports, since each connection takes one.

use crate::server::connections::ConnectionLimits;

/// Descriptors reserved for everything but connections: journal, pictures, model, log, collector.
const OWN: u64 = 48;
/// Most and fewest connections of the ops port.
const OPS: (u64, u64) = (64, 8);
/// Fewest connections of the service with which it still starts.
const FEWEST: u64 = 8;

/// Connection limits of each port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shares {
    /// Of the gRPC port.
    pub service: ConnectionLimits,
    /// Of the ops port, which the gRPC port can't use up.
    pub ops: ConnectionLimits,
}

/// The file descriptor limit is too low.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the limit of open files is {found}, at least {least} are needed: raise `ulimit -n`")]
pub struct TooFew {
    /// Current limit.
    found: u64,
    /// Required limit.
    least: u64,
}

/// Raises the soft limit of file descriptors to the hard limit, and returns it.
pub fn raise() -> u64 {
    // An unknown limit counts as unlimited.
    rlimit::increase_nofile_limit(u64::MAX).unwrap_or(u64::MAX)
}

/// Divides the descriptors; the service gets `wanted` connections, or as many as are left.
///
/// # Errors
/// [`TooFew`] if not enough are left for the service.
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
            error.to_string().contains("is 63,") && error.to_string().contains("at least 64"),
            "{error}"
        );
    }
}
