//! Says plainly what a text says in a roundabout way, before it is cut into clauses: without numbers, remarks and
//! what is only denied, and with edits in the order in which they are to be made.

use super::lexicon::{
    BEING, COMMANDS, DETERMINERS, ING_NOUNS, MODALS, PREPOSITIONS, is_adjective, verb_in,
};
use super::lists::{has, longest};
use super::nouns::is_plural;
use super::phrase::{noun_phrase_len, starts_definite};
use super::words::{Token, matched};
use super::{becoming, clause, exception, idioms};

/// A text without numbers and remarks, its edits in order.
pub(super) fn plain(tokens: &[Token]) -> Vec<Token> {
    let tokens = &idioms::in_plain_words(tokens)[..];
    let tokens = obliged(&without_asides(&without_remarks(&without_numbers(tokens))));
    let tokens = sequenced(&without_nothing(&tokens));
    let mut found: Vec<Token> = Vec::new();
    for sentence in tokens.split(|it| it.is(";")) {
        let stop = |lower| mark(lower, tokens.first());
        // `Keep the cat. Remove everything else.` is one edit.
        let second = !found.is_empty() && !found.iter().any(|it| it.is(";"));
        let whole =
            second && exception::leads(&[&found[..], stop(",").as_slice(), sentence].concat());
        // `Delete the flag. And the pole too.`
        let more = !found.is_empty()
            && matched(sentence, "and/also/plus the/my/his/her/their/its").is_some();
        let more = more && clause::shares_verb(&sentence[1..]);
        let stop = match () {
            () if whole => stop(","),
            () if more => stop("then"),
            () => stop(";"),
        };
        found.extend(stop.filter(|_| !found.is_empty()));
        let own = &sentence[usize::from(more)..];
        found.extend(ordered(&without_clauses(&said_once(own))));
    }
    found
}

/// `the tree should go` for `the tree ought to go`, `has to go`, `had better go`.
fn obliged(tokens: &[Token]) -> Vec<Token> {
    const OUGHT: &[&str] = &[
        "ought to",
        "has/have/had got? to",
        "needs/need to",
        "had/'d best/better",
        "is/are supposed to",
    ];
    let mut kept: Vec<Token> = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let subject = kept.last().is_some_and(|it| it.is_word() && !has(ASKING, &it.lower));
        let n = OUGHT.iter().filter(|_| subject && !tokens[at].quoted);
        let n = n.filter_map(|it| matched(&tokens[at..], it)).max();
        let n = n.filter(|&n| tokens.get(at + n).is_some_and(Token::is_word));
        let of = n.unwrap_or(1);
        let span = tokens[at].span.start..tokens[at + of - 1].span.end;
        kept.push(match n {
            Some(_) => Token { lower: "should".to_owned(), span, quoted: false },
            None => tokens[at].clone(),
        });
        at += of;
    }
    kept
}

/// Who asks or is asked, no thing of a picture; and what leads to a relative clause.
const ASKING: &str = "i you we who which that what it'd and or , not don't doesn't do does n't";

/// A mark that stands nowhere in the text.
fn mark(lower: &str, at: Option<&Token>) -> Option<Token> {
    let start = at?.span.start;
    Some(Token { lower: lower.to_owned(), span: start..start, quoted: false })
}

// === what is left out ===

/// Takes the numbers out of a list: `1. remove the cup 2. make the sky blue`.
fn without_numbers(tokens: &[Token]) -> Vec<Token> {
    let numbered = |at: usize, nth: usize| {
        tokens[at].is(&nth.to_string())
            && tokens.get(at + 1).is_some_and(|it| it.is(";") || it.is(","))
    };
    if tokens.is_empty() || !numbered(0, 1) {
        return tokens.to_vec();
    }
    let mut nth = 1;
    let mut kept = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if numbered(at, nth) {
            kept.push(Token { lower: ";".to_owned(), ..tokens[at].clone() });
            nth += 1;
            at += 2;
        } else {
            kept.push(tokens[at].clone());
            at += 1;
        }
    }
    kept
}

/// The words without remarks that stand anywhere: `remove, if you can, the tree`.
fn without_remarks(tokens: &[Token]) -> Vec<Token> {
    const REMARKS: &[&str] =
        &["please/pls/plz", "if possible", "if you can/could/may/would please?", "you know"];
    // Those that are nothing else, whatever follows.
    const SURE: &[&str] = &[
        "while/whilst you're/we're/you/we are? at it",
        "once/when/after that/this/it is/'s done/finished",
        "in/with the same go/breath/step/pass/edit/stroke",
        "at the same time",
        "by the way",
        "of course",
    ];
    // `I'd also like`, `make the dog and the cat both black`.
    let filler = |at: usize| {
        let next = tokens.get(at + 1).is_some_and(|it| is_adjective(&it.lower));
        let before = |list: &'static str| at > 0 && has(list, &tokens[at - 1].lower);
        let who = before("i'd we'd i we you would should could can");
        // `the dresses all be red`.
        let floats = has("all both each just still really actually", &tokens[at].lower)
            && tokens.get(at + 1).is_some_and(|it| has("be are have look become", &it.lower));
        who && has(
            "also still really actually honestly personally kinda definitely truly just",
            &tokens[at].lower,
        ) || floats && at > 1
            || next
                && tokens[at].is("both")
                && at > 2
                && tokens[..at].iter().any(|it| it.is("and"))
                && !before("and make turn paint")
    };
    let mut kept: Vec<Token> = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let begins = |it: &&str| matched(&tokens[at..], it);
        let sure = SURE.iter().find_map(begins);
        let remark = sure.or_else(|| REMARKS.iter().find_map(begins));
        let n = remark.filter(|_| !tokens[at].quoted && !kept.is_empty()).unwrap_or(0);
        // What it asks is no remark: `if you could make …`, `you know the tree …`.
        let next = tokens.get(at + n);
        let ends = next.is_none_or(|it| !it.is_word() || has(DETERMINERS, &it.lower));
        let known = n == 2 && tokens[at].is("you") && next.is_some_and(Token::is_word);
        if filler(at) {
            at += 1;
            continue;
        }
        if n == 0 || sure.is_none() && (!ends || known) {
            kept.push(tokens[at].clone());
            at += 1;
            continue;
        }
        at += n;
        if kept.last().is_some_and(|it| it.is(",")) && tokens.get(at).is_some_and(|it| it.is(",")) {
            kept.pop();
            at += usize::from(kept.len() == 1);
        }
    }
    kept
}

/// The words without what stands between commas behind a joint, where no list has one: `remove the bin and, to finish,
/// paint the door red`.
fn without_asides(tokens: &[Token]) -> Vec<Token> {
    const LONGEST: usize = 8;
    let aside = |at: usize| {
        let opens = has("and but then", &tokens[at - 1].lower) && tokens[at].is(",");
        let len = tokens[at + 1..].iter().take(LONGEST + 1).position(|it| it.is(","))?;
        let end = at + 1 + len;
        let sure = end + 1 < tokens.len() && !has(DETERMINERS, &tokens[at + 1].lower);
        (opens && sure).then_some(at..=end)
    };
    match (1..tokens.len()).find_map(aside) {
        Some(aside) => {
            [&tokens[..*aside.start()], &without_asides(&tokens[aside.end() + 1..])].concat()
        }
        None => tokens.to_vec(),
    }
}

/// `paint only the door` for `paint nothing but the door`.
fn without_nothing(tokens: &[Token]) -> Vec<Token> {
    let nothing = |at: usize| {
        let n = matched(&tokens[at..], "nothing but/except/besides for?")
            .or_else(|| matched(&tokens[at..], "nothing other than"))?;
        let keeps = has("keep leave leaving keeping retain preserve", &tokens[at - 1].lower);
        (starts_definite(&tokens[at + n..]) && !keeps).then_some(at..at + n)
    };
    match (1..tokens.len()).find_map(nothing) {
        Some(it) => [&tokens[..it.start], &tokens[it.end..]].concat(),
        None => tokens.to_vec(),
    }
}

/// The words without what says a thing again: `the van, a Ford, …`; `the dog on the sofa` for `the dog, the one on the
/// sofa, …`.
fn said_once(tokens: &[Token]) -> Vec<Token> {
    const OPENS: &str = "the a an my his her its their our";
    let comma = |from: usize| {
        tokens.get(from..)?.iter().take(9).position(|it| it.is(",")).map(|it| from + it)
    };
    let again = || {
        let start = comma(0)?;
        let end = comma(start + 1)?;
        let (again, next) = (&tokens[start + 1..end], tokens.get(end + 1)?);
        let first = (0..start).find(|&at| starts_definite(&tokens[at..]))?;
        let named = noun_phrase_len(&tokens[first..start]) == start - first;
        let which = matched(again, "which/who/that is/are/was/were");
        let once = (has(OPENS, &again.first()?.lower) || which.is_some())
            && !again.iter().any(|it| has("and or", &it.lower))
            && is_plural(&tokens[start - 1].lower)
                == is_plural(&again[noun_phrase_len(again).max(1) - 1].lower);
        let goes_on = has(PREPOSITIONS, &next.lower)
            || has(MODALS, &next.lower)
            || has(BEING, &next.lower)
            || is_adjective(&next.lower);
        // `the tractor, which is green now, …` says what it is and not where.
        let place = which
            .filter(|&n| again.get(n).is_none_or(|it| !is_adjective(&it.lower)))
            .or_else(|| matched(again, "the one"))
            .unwrap_or(again.len());
        (named && once && goes_on).then_some((start, start + 1 + place, end))
    };
    match again() {
        Some((start, place, end)) => {
            [&tokens[..start], &tokens[place..end], &tokens[end + 1..]].concat()
        }
        None => tokens.to_vec(),
    }
}

/// The words without a clause that says what somebody does with a thing: `the balloon the boy is holding`.
fn without_clauses(tokens: &[Token]) -> Vec<Token> {
    let end = |at: usize| {
        let does = |it: &usize| {
            has("is are was were", &tokens[*it].lower)
                && tokens.get(it + 1).is_some_and(|it| it.lower.ends_with("ing"))
        };
        let opens = has("the his her", &tokens[at].lower) && becoming::follows_noun(tokens, at);
        (at + 2..tokens.len().min(at + 5)).find(does).filter(|_| opens)
    };
    // Behind a verb and its object: `paint the balloon …`.
    match (3..tokens.len()).find_map(|at| Some((at, end(at)?))) {
        Some((at, verb)) => [&tokens[..at], &tokens[verb + 2..]].concat(),
        None => tokens.to_vec(),
    }
}

// === order ===

/// Words that say that another edit follows, as `then`: `…, after that the star`, `… followed by the star`.
fn sequenced(tokens: &[Token]) -> Vec<Token> {
    const FOLLOWS: &[&str] = &[
        ",/and/then after that/this ,?",
        ",/and/then afterwards/next/finally/lastly ,?",
        ",? followed by",
        ", and finally/lastly/next/afterwards ,?",
    ];
    let mut found: Vec<Token> = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let follows = longest(&tokens[at..], FOLLOWS);
        let follows = follows.filter(|&n| !found.is_empty() && starts_thing(&tokens[at + n..]));
        let token = tokens[at].clone();
        found.push(follows.map_or(token.clone(), |_| Token { lower: "then".to_owned(), ..token }));
        at += follows.unwrap_or(1);
    }
    found
}

fn starts_thing(tokens: &[Token]) -> bool {
    tokens
        .first()
        .is_some_and(|it| has("the a an my your his her its our their that this", &it.lower))
}

/// The edits of a sentence in the order in which they are to be made: `remove the tree; add a bush` for `before adding a
/// bush, remove the tree`.
fn ordered(sentence: &[Token]) -> Vec<Token> {
    let doing = |at: usize| {
        sentence.get(at).is_some_and(|it| {
            it.lower.ends_with("ing")
                && !has(ING_NOUNS, &it.lower)
                && verb_in(&COMMANDS, &it.lower).is_some()
        })
    };
    let commands =
        |it: &Token| !it.lower.ends_with("ing") && verb_in(&COMMANDS, &it.lower).is_some();
    let parted = |first: &[Token], then: &[Token]| {
        let stop = mark(";", first.first());
        [first, stop.as_slice(), then].concat()
    };
    let time = (0..sentence.len()).filter(|&at| has("before after", &sentence[at].lower));
    let time = time.filter_map(|at| {
        // `before you remove the bin`.
        let asked = sentence.get(at + 1).is_some_and(|it| it.is("you"));
        let verb = sentence.get(at + 2).is_some_and(commands);
        (doing(at + 1) || asked && verb).then_some((at, at + 1 + usize::from(asked)))
    });
    if let Some((at, rest)) = time.min() {
        let (head, tail) = (&sentence[..at], &sentence[rest..]);
        let before = sentence[at].is("before");
        let comma = tail.iter().position(|it| it.is(","));
        return match comma.filter(|_| head.is_empty()) {
            Some(comma) if before => parted(&tail[comma + 1..], &tail[..comma]),
            Some(comma) => parted(&tail[..comma], &tail[comma + 1..]),
            None if head.is_empty() => sentence.to_vec(),
            None if before => parted(head, tail),
            None => parted(tail, head),
        };
    }
    let first = (1..sentence.len()).find(|&at| matched(&sentence[at..], "but first").is_some());
    match first.filter(|&at| sentence.get(at + 2).is_some_and(commands)) {
        Some(at) => parted(&sentence[at + 2..], &sentence[..at]),
        None => sentence.to_vec(),
    }
}
