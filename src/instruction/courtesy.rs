//! Leaves out of a clause, and of a text that a model is told, what only makes it polite; out of a clause also what
//! gives a reason or says what is to stay.
//!
//! The phrases are patterns ([`matched`]), so that a line stands for a family: `could/can/would you please?`.

use std::ops::Range;

use super::exception;
use super::lexicon::{COMMANDS, has, is_adjective, verb_in};
use super::words::{self, Token, find, matched, prefix_len};

/// Openings that say nothing of the edit.
const OPENINGS: &[&str] = &[
    "please/pls/plz/kindly/just/simply/now/also/then/and/but",
    "or/so/ok/okay/hey/hi/hello/maybe/perhaps/next/first",
    "firstly/second/secondly/third/thirdly/finally/lastly",
    "last/afterwards/afterward/additionally/plus/besides/to/see",
    "after/once/like",
    "i'd/we'd say/suggest/guess/propose/recommend that? you/we/to?",
    "i/we suggest/propose/recommend/say that? you/we/to?",
    "somehow/quickly/carefully/completely/digitally/well/um/uh/oh/yes/yeah/actually/basically/alternatively",
    ",/;/dear/greetings/sorry/alright/right/only",
    "again/furthermore/moreover/btw/really/ideally/preferably/pleases/pleas",
    "good morning/day/afternoon/evening",
    "thanks/thank you? ,",
    "hey/hi/hello/dear/ok/okay there/buddy/bot/ai/assistant/team/friend/all/everyone/computer/guys",
    "could/can/would/will/might/may/cant/can't/couldn't/won't/wouldn't u/you/ya",
    "could/can/would/will/might/may someone/somebody/anyone/anybody",
    "could/can it be that",
    "a/one/another/last/quick/small quick/small/last/little/more? one/thing/request/question/edit/fix ,",
    "could/can/would/should/shall/may/might i/we ask/trouble/bother/beg/request/have/get you to/for",
    "could/can/would you be so kind as? to/and",
    "could/can/would/will/might/may you be able to",
    "are/were you able to",
    "could/can/may/might/should/shall i/we ask for",
    "could/can/may/might i/we please/maybe/possibly/just?",
    "should/shall/can/could/might/may i/we please/just/maybe/try/possibly? to?",
    "be so kind as? to/and",
    "be a dear/darling/star/friend/sweetheart and",
    "do you think/suppose you/we could/can/might",
    "do/would you mind if i/we asked/ask? you? to?",
    "would/do you mind",
    "you/u mind",
    "mind if i/we asked/ask? you? to?",
    "mind",
    "any chance/way of",
    "is/are there? any/a chance/way/possibility of",
    "is/are there? any/a chance/way/possibility that? you/we/i? could/can/to",
    "any chance/way that? you/we could/can/to",
    "would/will/is it be? possible/okay/ok/alright/feasible for? you? to",
    "would/will/is it be? possible/okay/ok/alright/feasible if you/we could?",
    "would it be too much to ask? to",
    "i/we wonder/wondered if/whether you/we could/can/would",
    "i/we was/were/am/are wondering/hoping/thinking if/whether/that? you/we could/can/might/would",
    "i'm/we're wondering/hoping/thinking if/whether/that? you/we could/can/might/would",
    "i'm/we're hoping/looking/trying/going to",
    "i/we am/are hoping/looking/trying/going to",
    "i'd/we'd like/love/want/need/prefer/appreciate/rather for? you? to",
    "i/we would like/love/want/need/prefer/appreciate for? you to",
    "i/we would like/love/want/need/prefer to",
    "i/we want/need/wish/hope/prefer for? you to",
    "i/we want/need/wish/prefer/have/am/hope to",
    "i'd/we'd really? like/love/appreciate/prefer it if",
    "i/we would really? like/love/appreciate/prefer it if",
    "without touching/changing/altering/affecting _ _? _? ,",
    "don't/do you think/believe/feel/agree that?",
    "i'd/we'd be happy/grateful/glad if",
    "i/we would be happy/grateful/glad if",
    "i'd/we'd really like/love/want/need for? you? to",
    "i really like/love/want/need for? you? to",
    "i would really like/love/want/need for? you? to",
    "it would/will be nice/nicer/great/cool/cooler/good/lovely if",
    "it would/will be awesome/perfect/better/best/fun/wonderful/amazing/prettier if",
    "it'd/itd be nice/nicer/great/cool/cooler/good/lovely if",
    "it'd/itd be awesome/perfect/better/best/fun/wonderful/amazing/prettier if",
    "wouldn't it be nice/great/cool/good/better/fun if",
    "it would/will be nice/great/cool/good/better/best/fun to",
    "it'd be nice/great/cool/good/better/best/fun to",
    "you could/can/would/should/must/might/may/will",
    "you have/need/ought to",
    "your task/job/goal/mission is to",
    "the task/goal/idea/plan is to",
    "my/our/the/one request/wish/task/idea/instruction/order/favour/favor ,",
    "my request/wish is to",
    "all/what i/we want/need/ask is for/to",
    "all/what i/we want/need/ask for? is",
    "feel free to",
    "see to it that",
    "would/will/is it be? possible/okay/ok for",
    "i/we wonder/wondered what/how",
    "go ahead and/to?",
    "go and",
    "try to? and?",
    "let me/us see",
    "see how/what it/this/that/things/he/she/they/him/her looks/look/would like? look? like?",
    "let 's just? try? to?",
    "lets/let'z just? try?",
    "let us",
    "help me/us? to? to?",
    "why don't you/we just?",
    "why do not you/we",
    "why not",
    "how/what about you? if? we?",
    "be sure/careful to",
    "make sure to/that?",
    "ensure that?",
    "what i want is for/to",
    "edit/modify/change/alter/update/retouch this/the/my image/photo/picture/pic/it? to/so/and that/and?",
    "edit it to/so/and that?",
    "photoshop this/the/my image/photo/picture/pic/it? to/so/and that/and?",
    "make it so/such that?",
    "make it so/such",
    "in this/the/my/that image/picture/photo/pic/scene/shot/photograph/drawing/painting/one/here ,?",
    "for/from/on this/the/my image/picture/photo/pic/photograph ,?",
    "if possible/you ,",
    "if you can/could/would/please/may ,?",
    "if you don't/wouldn't mind ,?",
    "if it is/'s possible ,?",
    "when/whenever you have/get a chance/moment/minute ,?",
    "after/following that/this ,?",
    "and? once/when that 's/is done ,?",
    "as a first/second/next/last/final step ,?",
    "in the end ,",
    "in addition ,?",
    "on top of that ,?",
    "at the same time ,?",
    "while/whilst you're/we're/you/we are? at it ,?",
    "instead ,",
    "i/we think/believe/guess/feel/reckon that? we/you should/could",
    "i/we think/believe/guess/feel/reckon that?",
    "is it possible that",
    "do me a favor/favour and",
    "just? go",
    "can/could/may/might/shall i/we just? please? see",
    "remember to",
    "don't forget to",
];

/// Closings that ask nicely or thank.
const THANKS: &[&str] = &[
    "please/pls/plz/thanks/thx/ty/cheers",
    "that'd/it'd/thatd be great/nice/good/cool/lovely/perfect/awesome/fantastic",
    "that/it/this would be great/nice/good/cool/lovely/perfect/awesome/fantastic",
    "thank you so?",
    "thank you very? much",
    "many/lots/much of? thanks",
    "thanks in advance",
    "thanks a lot/bunch/million",
    "thanks so? very? much",
    "thank you in advance",
    "cheers mate/buddy",
    "pretty please",
    "if possible",
    "if you can/could/please/may/like/want/would",
    "if you don't/wouldn't/dont mind",
    "if you would be so kind",
    "if that 's/is possible/ok/okay/alright",
    "if it is/'s possible/ok/okay/not",
    "if that works",
    "would/will/could/can/won't you/ya/u please?",
    "would you mind",
    "is that ok/okay/possible/alright",
    "when you can",
    "when you get/have a chance/moment/minute",
    "as soon as possible",
];

/// Other closings that say nothing of the edit.
const CLOSINGS: &[&str] = &[
    "now/too/also",
    "for me/us",
    "again/entirely/completely/altogether/somewhere/and/but/,/;/though/then/asap",
    "instead/immediately/quickly/mate/buddy/dude/pal/sir/ok",
    "okay/alright/right/yeah/here/everywhere/totally/forever/pretty",
    "and that 's/is it/all",
    "as well",
    "don't you think",
    "once and for all",
    "and nothing else",
    "nothing else",
    "or something like? that?",
    "or so",
    "and so on",
    "in/from/to/into/of/on/for/within the/this/that/my/our image/picture/photo/scene",
    "in/from/to/into/of/on/for/within the/this/that/my/our photograph/pic/shot/view/frame",
    "in here/it",
    "from here/view/sight",
    "over there/here",
    "right now/away",
    "for a change",
    "at all",
    "any more/longer",
    "anymore",
    "at once",
    "straight away",
    "a bit/little/touch",
    "a little bit",
    "so much",
    "just like that",
    "this time",
    "than it is/was now/currently?",
    "than they are now?",
    "as it is",
    "i think/guess/suppose",
    "what do you think",
    "how about that",
    "or not",
    "no matter what",
];

/// What opens a part of a clause that names a reason or what is to stay, not an edit.
const ASIDES: &[&str] = &[
    "so/such that/as",
    "because/cause/cuz/cos",
    "in order to",
    "to make/match/give/fit/let/help/get/create the/it/them/him/her/a/everything",
    "to make/match/give/fit/let/help/get/create things/this/my/room/an/some/more",
    "to improve/achieve/show/look the/it/them/him/her/a/everything",
    "to emphasize/avoid/balance/complete/keep the/it/them/him/her/a/everything",
    "to improve/achieve/show/look things/this/my/room/an/some/more",
    "to emphasize/avoid/balance/complete/keep things/this/my/room/an/some/more",
    "to match/fit/suit/blend",
    "while/by keeping/leaving/preserving/maintaining",
    "without changing/altering/affecting/touching/modifying",
    "without changes/damaging/harming/losing/messing/disturbing",
    "but/and/, keep/leave/preserve/keeping/leaving/preserving/maintain/retain",
    "but/and/, do not touch/change/alter/modify/edit/affect",
    "but/and/, don't/dont touch/change/alter/modify/edit/affect/do/mess",
    "but not the/anything/everything",
    "keeping the rest",
    "keeping everything",
    ", making/giving/so/as/like",
    ", just/exactly as/like",
    "as though",
    "so it/the/they/he/she/we/i/you/this/there/people/everyone",
    "and nothing else",
    ", nothing else",
    ", not the other/others/rest",
    "since/as/for it/they/he/she/that/this/i/we is/was/are/were/'s/looks/look/ruins",
    "since/as/for it/they/he/she/that/this/i/we ruin/distracts/distract/does/doesn't/do/don't/has",
    "since/as/for it/they/he/she/that/this/i/we have/makes/spoils/really/just/clashes/want/need",
    "since/as/for it/they/he/she/that/this/i/we think/like/prefer/seems/feels/hate/kind/would",
    "since/as it's/they're/that's/i'm/he's/she's/i'd",
    "since the/this/that/my/it/they/we",
    ", it's/that's/they're/it'll/that'll/i'm/i'll/he's/she's/it'd/that'd/i/we",
    ", it/that/this/they/he/she looks/look/is/'s/was/will/would",
    ", it/that/this/they/he/she ruins/spoils/distracts/doesn't/does/makes/clashes",
    ", it/that/this/they/he/she seems/feels/'ll/just/really/bothers/annoys",
    ", it/that/this/they/he/she are/has/have/don't/kind/isn't/blocks",
    "; ; ;",
    "when/if you get/have/find/are/feel/can/could/want",
    "whenever/where you can/get/like",
    "before/after i/we",
    ", as in the",
    "for/to my/our/his/her/the/a taste/presentation/mom/client/boss/wife/husband/project/blog/website/friend",
];

/// A clause without courtesies and asides.
pub(super) fn bare(mut tokens: &[Token]) -> &[Token] {
    loop {
        let closing = THANKS.iter().chain(CLOSINGS).filter_map(|it| ending(tokens, it)).max();
        let aside = (2..tokens.len())
            .filter(|&at| exception::stays(tokens, at).is_none())
            .find(|&at| ASIDES.iter().any(|it| matched(&tokens[at..], it).is_some()));
        tokens = match (opening(tokens), closing, aside) {
            (Some(n), _, _) => &tokens[n..],
            (_, Some(n), _) if n < tokens.len() => &tokens[..tokens.len() - n],
            (_, _, Some(at)) => &tokens[..at],
            _ => return tokens,
        };
    }
}

/// Bytes of a text without courtesies before its verb and thanks at its end; all of it where there are none.
pub(super) fn command(text: &str) -> Range<usize> {
    let all = words::tokens(text);
    // `see a balloon` is a wish, not a command.
    let verb = |it: &Token| !it.is("see") && verb_in(&COMMANDS, &it.lower).is_some();
    let begins = |tokens: &[Token]| tokens.first().is_some_and(verb);
    let mut asked = &all[..];
    while !begins(asked) {
        let Some(n) = opening(asked) else { break };
        asked = &asked[n..];
    }
    let polite = begins(asked) && asked.len() < all.len();
    let mut tokens = if polite { asked } else { &all[..] };
    let (mut start, mut end) = (0, text.len());
    if polite {
        start = tokens[0].span.start;
        end = text.trim_end_matches(['?', ' ']).len();
    }
    loop {
        let said = tokens.iter().rposition(Token::is_word).map_or(0, |it| it + 1);
        let closing = THANKS.iter().filter_map(|it| ending(&tokens[..said], it)).max();
        let Some(n) = closing.filter(|&n| n < said) else { return start..end };
        tokens = &tokens[..said - n];
        let last = tokens.iter().rfind(|it| it.is_word());
        end = last.map_or(end, |it| it.span.end);
    }
}

/// The number of tokens at the beginning that say nothing of the edit.
fn opening(tokens: &[Token]) -> Option<usize> {
    if exception::leads(tokens) {
        return None;
    }
    OPENINGS
        .iter()
        .filter_map(|it| matched(tokens, it))
        .filter(|&n| n < tokens.len() || n == 1 && is_joint(&tokens[0]))
        .filter(|&n| !opens_phrase(tokens, n))
        .max()
}

fn is_joint(token: &Token) -> bool {
    has(", ; and or but then", &token.lower)
}

/// Whether an opening's word begins a noun phrase after all: `right eye bigger`, `second car to a bus`, `last …`.
fn opens_phrase(tokens: &[Token], n: usize) -> bool {
    let ambiguous = n == 1
        && has(
            "second third last right only first plus so see to next after once like",
            &tokens[0].lower,
        );
    let Some(next) = tokens.get(n) else { return false };
    if n == 1 && tokens[0].is("next") && next.is("to") {
        return true;
    }
    if n == 1 && tokens[0].is("like") {
        return verb_in(&COMMANDS, &next.lower).is_none();
    }
    if tokens[0].is("after") || tokens[0].is("once") {
        return n == 1 && !next.lower.ends_with("ing") && !has("the this that", &next.lower);
    }
    if tokens[0].is("to") || tokens[0].is("see") {
        return next.is("the") && tokens[0].is("to");
    }
    ambiguous
        && !next.is(",")
        && (tokens[0].is("second")
            || !OPENINGS.iter().any(|it| matched(&tokens[n..], it).is_some()))
        && !has("the a an please can could i i'd we let", &next.lower)
        && verb_in(&COMMANDS, &next.lower).is_none()
}

/// The number of tokens at the end that a pattern takes.
fn ending(tokens: &[Token], pattern: &str) -> Option<usize> {
    let most = pattern.split(' ').count();
    (1..=most.min(tokens.len()))
        .rev()
        .find(|&n| matched(&tokens[tokens.len() - n..], pattern) == Some(n))
        .filter(|&n| !completes(&tokens[..tokens.len() - n], &tokens[tokens.len() - n..]))
}

/// Whether an ending is a part of what is said: `make it pretty`, `the house on the right`.
fn completes(before: &[Token], end: &[Token]) -> bool {
    if end[0].is("right") {
        return !before.last().is_some_and(|it| it.is(","));
    }
    if end[0].is("pretty") {
        return end.len() == 1 && !before.last().is_some_and(|it| it.is(","));
    }
    // `make it a little bit` says nothing, `make the house over there` neither.
    end[0].is("a") && before.last().is_some_and(|it| has("by with to", &it.lower))
        || end[0].is("so") && before.last().is_some_and(is_word_before)
}

fn is_word_before(token: &Token) -> bool {
    is_adjective(&token.lower)
}

/// Whether a clause asks for nothing to be done: what it names is to stay.
pub(super) fn keeps(clause: &[Token]) -> bool {
    const KEPT: &[&str] = &[
        "keep/leave/preserve/maintain/retain/ensure",
        "without touching/changing/altering/affecting/modifying/moving",
        "do not touch/change/alter/modify/edit/affect/remove/delete/move/mess/add/make/do",
        "don't/dont touch/change/alter/modify/edit/affect/remove/delete/move/mess/add/make/do/worry",
        "everything/nothing/all else should/must/can/to/has",
        "the rest should/must/can/stays/has/of",
        "nothing else",
        "no other changes/change/edits",
    ];
    if exception::leads(clause) {
        return false;
    }
    let denied = clause[0].is("not") && find(clause, "but").is_none();
    denied
        || KEPT.iter().any(|it| matched(clause, it).is_some())
            && find(clause, "instead of").is_none()
            && prefix_len(clause, "leave out").is_none()
}
