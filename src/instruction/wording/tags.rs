//! Tags that ask a text-to-image model for quality, between commas.

use std::sync::LazyLock;

use regex::Regex;

use super::{has_words, pattern};

/// A run of tags, in lower case, its spaces plain. What asks for a style (`photorealistic`, `cinematic lighting`) is
/// none.
static TAGS: LazyLock<Regex> = LazyLock::new(|| {
    let tags = [
        r"masterpieces?|masterwork|absurd ?res|incredibly absurd ?res|hi(gh)?[ -]?res|(ultra )?high resolution",
        r"(the )?(best|high|highest|higher|top|good|great|ultra|amazing|perfect|studio|professional|extreme|exceptional|premium|movie) quality",
        r"(16|8|4|2) ?k|(16|8|4|2)k (uhd|hdr|hd|wallpaper|resolution|photo|quality)|uhd|(full |ultra |true )?hd|hdr|fhd|qhd",
        r"(ultra|highly|extremely|very|super|insanely|hyper|incredibly|finely|absurdly|amazingly|more)[ -]?detailed( (cg|8k|unity|wallpaper))*",
        r"(intricate|fine|rich|extreme|high|ultra|insane|amazing|more)( intricate)? details?|intricate|detailed|sharp focus|crisp",
        r"trending on (artstation|cgsociety|deviantart|pixiv)|artstation( hq)?|cgsociety|pixiv",
        r"award[ -]?winning( (photo|photograph|photography|art))?|raw photo|dslr|very aesthetic|aesthetic|newest",
        r"unity( 8k)?( wallpaper)?|official art|professional|professional photo(graph|graphy)?",
        r"score \d( up)?|rating (safe|general|sensitive|questionable|explicit)",
    ]
    .join("|");
    pattern(&format!(r"^(?:(?:{tags})(?: |$))+$"))
});

/// What stands between tags: commas, ends of lines, and the `AND` that joins prompts.
static BETWEEN: LazyLock<Regex> = LazyLock::new(|| pattern(r"[,\n]|\bAND\b"));

/// A text without its quality tags; one that is nothing else stays as it is.
pub(super) fn without_tags(text: &str, left_out: &mut Vec<String>) -> String {
    let (mut rest, mut tags) = (String::new(), Vec::new());
    let mut segment_start = 0;
    let mut separator = "";
    let ends = BETWEEN.find_iter(text).map(|it| (it.range(), it.as_str()));
    for (end, next) in ends.chain([(text.len()..text.len(), "")]) {
        let segment = &text[segment_start..end.start];
        if is_tag(segment) {
            tags.push(format!("`{}`", segment.trim().trim_end_matches(['.', '!'])));
        } else {
            if !rest.trim().is_empty() {
                rest.push_str(separator);
            }
            rest.push_str(segment);
        }
        (segment_start, separator) = (end.end, next);
    }
    if tags.is_empty() || !has_words(&rest) {
        return text.to_owned();
    }
    left_out.push(format!("quality tags ({})", tags.join(", ")));
    rest
}

fn is_tag(segment: &str) -> bool {
    let plain = segment.replace('_', " ").to_lowercase();
    let plain =
        plain.trim().trim_start_matches("and ").trim_matches(|c: char| ".!;()[]{} ".contains(c));
    let plain: Vec<&str> = plain.split_whitespace().collect();
    TAGS.is_match(&plain.join(" "))
}
