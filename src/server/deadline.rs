//! Deadlines of calls (the gRPC protocol over HTTP/2, "Timeout").

use std::time::{Duration, Instant};

use http::HeaderMap;
use tonic::Code;

use crate::server::refusal::Refusal;

/// Header with the caller's timeout.
pub const GRPC_TIMEOUT: &str = "grpc-timeout";

/// Deadline of a call that begins now; `None` if the caller set none.
///
/// # Errors
/// An `INVALID_ARGUMENT` refusal if the header can't be parsed.
pub fn of(headers: &HeaderMap) -> Result<Option<Instant>, Refusal> {
    let mut said = headers.get_all(GRPC_TIMEOUT).iter();
    let Some(first) = said.next() else { return Ok(None) };
    let time = first.to_str().ok().and_then(time).filter(|_| said.next().is_none());
    let Some(time) = time else {
        let text = String::from_utf8_lossy(first.as_bytes());
        let expected =
            "expected one time of 1 to 8 digits and a unit, H, M, S, m, u or n, such as 30S";
        let message = format!("grpc-timeout is `{text}`; {expected}");
        return Err(Refusal::new(Code::InvalidArgument, "INVALID_ARGUMENT", message)
            .field(GRPC_TIMEOUT, expected));
    };
    // A timeout beyond the range of the clock counts as none.
    Ok(Instant::now().checked_add(time))
}

/// The refusal of a call whose deadline has passed.
pub fn passed() -> Refusal {
    let said = "the time that the caller gave this call by grpc-timeout is up";
    Refusal::new(Code::DeadlineExceeded, "CLIENT_DEADLINE", said)
}

fn time(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if !(1..=8).contains(&digits.len()) || !digits.bytes().all(|it| it.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(count * 3600),
        "M" => Duration::from_secs(count * 60),
        "S" => Duration::from_secs(count),
        "m" => Duration::from_millis(count),
        "u" => Duration::from_micros(count),
        "n" => Duration::from_nanos(count),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_digits_and_a_unit() {
        let cases = [
            ("1H", Some(Duration::from_secs(3600))),
            ("2M", Some(Duration::from_secs(120))),
            ("0S", Some(Duration::ZERO)),
            ("00000007S", Some(Duration::from_secs(7))),
            ("10m", Some(Duration::from_millis(10))),
            ("10u", Some(Duration::from_micros(10))),
            ("99999999n", Some(Duration::from_nanos(99_999_999))),
            ("99999999H", Some(Duration::from_secs(99_999_999 * 3600))),
        ];
        for (text, expected) in cases {
            assert_eq!(time(text), expected, "{text}");
        }
        for text in [
            "",
            "S",
            "1",
            "-1S",
            "+1S",
            "1 S",
            " 1S",
            "1.5S",
            "1s",
            "123456789S",
            "1\u{b5}",
            "0x1S",
        ] {
            assert_eq!(time(text), None, "{text}");
        }
    }

    #[test]
    fn a_time_beyond_the_clock_is_for_ever_and_two_are_none() {
        let headers = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(GRPC_TIMEOUT, value.parse().unwrap());
            }
            headers
        };
        assert_eq!(of(&headers(&[])), Ok(None));
        assert!(of(&headers(&["99999999H"])).unwrap().is_none_or(|it| it > Instant::now()));
        assert!(of(&headers(&["0S"])).unwrap().unwrap() <= Instant::now());
        let refusal = of(&headers(&["1S", "2S"])).unwrap_err();
        assert_eq!(
            (refusal.code, refusal.fields[0].0.as_str()),
            (Code::InvalidArgument, GRPC_TIMEOUT)
        );
    }
}
