//! What frames a wish: `I want …`, `what if …`; and what opens a wish that something were not there.

use super::lists::{has, longest};
use super::words::{Token, find, prefix_len};

/// What opens a wish that something were not there.
pub(super) const UNWANTED: &[&str] = &[
    "i/we don't/dont want/need/like there? to be/see/have? any/a?",
    "i/we do not want/need/like there? to be/see/have? any/a?",
    "i/we don't/dont want/need/like any?",
    "i/we don't/dont think/believe/feel/reckon that? i/we/you/it need/needs/want any/a?",
    "i/we do not think/believe/feel/reckon that? i/we/you/it need/needs/want any/a?",
    "i/we want/need/like neither",
    "i/we do not want/need/like any?",
    "i/we dislike/hate",
    "i/we no longer want/need/like",
    "i'd/we'd be happier/better off? without",
    "i/we would be happier/better off? without",
    "away/down/off/out with",
    "i/we can't/cannot stand",
    "i'd/we'd/i/we would? rather/prefer not to? see/have any/a?",
    "don't/dont show/include/have",
    "do not show/include/have",
    "do/live/manage/go/cope without",
    "i/we/you can/could do/live/manage/go/cope without",
    "bye bye? to?",
    "bye-bye/goodbye/farewell/adios/begone/ciao/cheerio to? ,?",
    "say/wave bye/goodbye/farewell/adios to",
    "enough of/with",
    "i/we/nobody didn't/don't/never order/ask/asked/ordered for? any/a?",
    "i'm/we're/i/we am/are? not into/fond/keen/happy/sold/crazy/mad of/on/with/about?",
    "i/we could/can well/easily? do/live without",
    "i/we see no need/reason for",
    "there 's/is no need/reason/call for",
    "a/the/one? version/picture/photo/image/edit/shot/copy minus/without/lacking",
];

/// What a clause stood in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Frame {
    /// Nothing, or `what if …`, `imagine …`, with a statement.
    Plain,
    /// `I want …`: a thing, with what it shall be or do.
    Want,
}

/// Leaves out what frames a wish: `what if the car was red` says `the car was red`.
pub(super) fn unwrap_wish(clause: &[Token]) -> (&[Token], Frame) {
    const OPENERS: &str =
        "if what how it it'd i show see imagine as picture we would wonder nice suppose";
    const SUPPOSE: &[&str] = &[
        "imagine that",
        "imagine",
        "suppose that",
        "suppose",
        "pretend that",
        "pretend",
        "i wish that",
        "i wish",
        "i think",
        "i imagine",
        "i picture",
        "i envision",
        "i envisage",
        "i'm imagining",
        "i'm picturing",
        "i can imagine",
    ];
    const WANT: &[&str] = &[
        "i/we really? want/need/prefer/like/love/fancy to? see?",
        "i/we would love/like it if",
        "i'd/we'd/i/we would? really? appreciate/welcome",
        "wanna/gonna want/need/like/love/see/have to? see?",
        "lemme/gimme have/see/get",
        "i'd/we'd really? like/love/prefer/want/rather/need/request to? have/see?",
        "i'd/we'd have/see",
        "i'd/we'd/i/we would? be happier/happy/glad/pleased with/to see/have?",
        "i/we miss",
        "would love/like/prefer/appreciate to? see/have?",
        "wants/requests/prefers/needs/demands/asks/want/request to? see/have/for?",
        "i/we would really? like/love/prefer/want/rather to? have/see?",
        "i'm/we're after/wanting/missing",
        "my/our/the/his/her _ wants/wanted/prefers/asked to? see? for?",
        "i/we could/can/should do/have/use with?",
        "i/we must/should/could/can/would have/see",
    ];
    if clause.first().is_some_and(|it| has(OPENERS, &it.lower))
        && let Some(mark) = find(clause, "if")
    {
        return (&clause[mark.end..], Frame::Plain);
    }
    if let Some(n) =
        ["what would", "how would", "what will"].iter().find_map(|it| prefix_len(clause, it))
    {
        return (&clause[n..], Frame::Plain);
    }
    if let Some(n) = SUPPOSE.iter().filter_map(|it| prefix_len(clause, it)).max() {
        return (&clause[n..], Frame::Plain);
    }
    match longest(clause, WANT) {
        Some(n) => (&clause[n..], Frame::Want),
        None => (clause, Frame::Plain),
    }
}
