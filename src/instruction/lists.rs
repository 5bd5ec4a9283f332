//! Lists of words and of patterns, each looked up by a hash once it has been asked for.
//!
//! A list is known by where it stands in the program, so that it can be written as one text wherever it is used.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use super::words::{Token, matched};

type Words = Rc<HashSet<&'static str>>;

thread_local! {
    static LISTS: RefCell<HashMap<(usize, usize), Words>> = RefCell::default();
}

/// A list this short is read through faster than it is hashed.
const SHORT: usize = 64;

/// Whether a list, words parted by spaces, holds the word.
pub(super) fn has(list: &'static str, word: &str) -> bool {
    if list.len() < SHORT {
        return list.split_ascii_whitespace().any(|it| it == word);
    }
    let words =
        hashed((list.as_ptr().addr(), list.len()), || list.split_ascii_whitespace().collect());
    words.contains(word)
}

/// The word as one of these lists holds it.
pub(super) fn held(lists: &[&'static str], word: &str) -> Option<&'static str> {
    let list = lists.iter().find(|it| has(it, word))?;
    list.split_ascii_whitespace().find(|it| *it == word)
}

/// The most tokens at the start that one of these patterns takes.
pub(super) fn longest(tokens: &[Token], patterns: &'static [&'static str]) -> Option<usize> {
    let first = tokens.first()?;
    let key = (patterns.as_ptr().addr(), patterns.len());
    let firsts = hashed(key, || patterns.iter().flat_map(|it| first_words(it)).collect());
    if !firsts.contains(first.lower.as_str()) && !firsts.contains("_") {
        return None;
    }
    patterns.iter().filter_map(|it| matched(tokens, it)).max()
}

/// The words with which a pattern can begin.
fn first_words(pattern: &'static str) -> Vec<&'static str> {
    let mut words = Vec::new();
    for part in pattern.split(' ') {
        words.extend(part.trim_end_matches('?').split('/'));
        if !part.ends_with('?') {
            break;
        }
    }
    words
}

fn hashed(key: (usize, usize), words: impl FnOnce() -> HashSet<&'static str>) -> Words {
    LISTS.with_borrow_mut(|it| Rc::clone(it.entry(key).or_insert_with(|| Rc::new(words()))))
}
