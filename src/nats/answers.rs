//! What each answer of the server to a write means, and what is done about it.

use serde::Deserialize;

/// What became of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// Stored, with the sequence of its last message in the stream.
    Stored(u64),
    /// A subject has another last sequence than expected: somebody else's commit is stored, or this one's is, whose
    /// answer was lost. A read of the leader tells.
    Stale,
    /// It may be stored or not, now or later: the same bytes are sent again.
    Unknown(String),
    /// There is no room.
    Full(String),
    /// It will never be stored.
    Refused(String),
}

/// The server's acknowledgment of a message, or its refusal.
#[derive(Debug, Deserialize)]
struct Ack {
    #[serde(default)]
    seq: u64,
    error: Option<ApiError>,
}

/// An error of the JetStream API.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct ApiError {
    #[serde(default)]
    pub(super) code: u32,
    #[serde(default)]
    pub(super) err_code: u32,
    #[serde(default)]
    pub(super) description: String,
}

/// A subject has another last sequence than expected.
const WRONG_LAST_SEQUENCE: u32 = 10071;
/// The same, while another message of the subject is still being replicated: which of both is stored is not known yet.
const IN_FLIGHT: u32 = 10164;
/// The stream can't store the message: it is full, or its storage failed.
const STORE_FAILED: u32 = 10077;
/// No room in the account's or the server's storage, or in memory.
const NO_ROOM: [u32; 4] = [10002, 10023, 10028, 10047];
/// The server lost an atomic batch before its last message, as in a change of leaders, or has too many of them.
const BATCH_LOST: [u32; 2] = [10176, 10210];
/// No stream of that name, no answer of it, or no leader, as in an election.
const NO_LEADER: [u32; 4] = [10005, 10008, 10009, 10118];

impl ApiError {
    /// Whether the message or stream that was asked for does not exist.
    pub(super) fn is_not_found(&self) -> bool {
        self.err_code == 10037
    }

    /// Whether another try may get another answer.
    pub(super) fn passes(&self) -> bool {
        NO_LEADER.contains(&self.err_code) || self.code == 503
    }
}

/// What the server's answer to a message, in JSON, means.
pub(super) fn of_ack(json: &[u8]) -> Answer {
    let ack: Ack = match serde_json::from_slice(json) {
        Ok(ack) => ack,
        Err(error) => return Answer::Unknown(format!("an answer can't be read: {error}")),
    };
    let Some(error) = ack.error else {
        return match ack.seq {
            0 => Answer::Unknown("an answer without a sequence".to_owned()),
            sequence => Answer::Stored(sequence),
        };
    };
    let said = format!("{} ({})", error.description, error.err_code);
    match error.err_code {
        WRONG_LAST_SEQUENCE => Answer::Stale,
        IN_FLIGHT => Answer::Unknown(said),
        code if BATCH_LOST.contains(&code) => Answer::Unknown(said),
        STORE_FAILED => Answer::Full(said),
        code if NO_ROOM.contains(&code) => Answer::Full(said),
        _ if error.passes() => Answer::Unknown(said),
        _ => Answer::Refused(said),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(code: u32, err_code: u32) -> Answer {
        let json = format!(
            r#"{{"error":{{"code":{code},"err_code":{err_code},"description":"why"}},"stream":"RT_LOG","seq":0}}"#
        );
        of_ack(json.as_bytes())
    }

    #[test]
    fn a_stored_message_has_a_sequence() {
        assert_eq!(of_ack(br#"{"stream":"RT_LOG","seq":7}"#), Answer::Stored(7));
        let batch = br#"{"stream":"RT_LOG","seq":9,"batch":"b","count":3}"#;
        assert_eq!(of_ack(batch), Answer::Stored(9));
    }

    #[test]
    fn another_last_sequence_is_looked_into() {
        assert_eq!(error(400, 10071), Answer::Stale);
    }

    #[test]
    fn what_is_being_replicated_a_lost_batch_and_an_election_are_tried_again() {
        for (code, err_code) in
            [(400, 10164), (400, 10176), (429, 10210), (503, 10008), (500, 10118)]
        {
            let answer = error(code, err_code);
            assert!(matches!(answer, Answer::Unknown(_)), "{err_code}: {answer:?}");
        }
    }

    #[test]
    fn a_full_stream_and_a_full_account_are_full() {
        for (code, err_code) in [(503, 10077), (503, 10023), (400, 10002), (500, 10047)] {
            assert!(matches!(error(code, err_code), Answer::Full(_)), "{err_code}");
        }
    }

    #[test]
    fn anything_else_is_refused_with_what_the_server_says() {
        assert_eq!(error(400, 10054), Answer::Refused("why (10054)".to_owned()));
    }

    #[test]
    fn an_answer_that_can_not_be_read_says_nothing_about_the_message() {
        for json in [&b""[..], b"+OK", b"{}", b"{\"seq\":\"7\"}"] {
            assert!(matches!(of_ack(json), Answer::Unknown(_)));
        }
    }
}
