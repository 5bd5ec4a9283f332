//! Number and article of English nouns, by rule and by short lists.

use super::lexicon::pairs;
use super::lists::has;

/// Nouns whose plural is irregular, as `singular:plural`.
const IRREGULAR_PLURALS: &str = "man:men woman:women child:children person:people mouse:mice \
    goose:geese foot:feet tooth:teeth ox:oxen leaf:leaves knife:knives wolf:wolves loaf:loaves \
    shelf:shelves calf:calves half:halves scarf:scarves elf:elves thief:thieves wife:wives \
    life:lives cactus:cacti sheep:sheep fish:fish deer:deer snowman:snowmen policeman:policemen \
    fireman:firemen fisherman:fishermen potato:potatoes tomato:tomatoes hero:heroes \
    volcano:volcanoes mango:mangoes torpedo:torpedoes aircraft:aircraft bison:bison moose:moose \
    salmon:salmon shrimp:shrimp squid:squid taxi:taxis tornado:tornadoes trout:trout quiz:quizzes";

/// Nouns in -s that are one thing, or that name one thing by a plural.
const SINGULAR_IN_S: &str = "clothes glasses sunglasses eyeglasses pants jeans trousers shorts scissors pajamas \
    pyjamas overalls leggings tights goggles binoculars headphones earphones tongs pliers bus gas lens canvas \
    christmas atlas iris tennis chess news bikinis texas swimming-trunks underpants bias pancreas pliers species \
    stairs surroundings outskirts dungarees briefs";

/// Whether a noun is plural in form and names several things.
pub fn is_plural(noun: &str) -> bool {
    if has(SINGULAR_IN_S, noun) {
        return false;
    }
    if pairs(IRREGULAR_PLURALS).any(|(one, many)| many == noun && one != many) {
        return true;
    }
    noun.len() > 3 && noun.ends_with('s') && !["ss", "us", "is"].iter().any(|it| noun.ends_with(it))
}

/// The plural of a noun.
pub fn plural_of(noun: &str) -> String {
    if let Some((_, many)) = pairs(IRREGULAR_PLURALS).find(|(one, _)| *one == noun) {
        return many.to_owned();
    }
    let consonant_y = noun.strip_suffix('y').filter(|it| !it.ends_with(['a', 'e', 'i', 'o', 'u']));
    if let Some(stem) = consonant_y {
        return format!("{stem}ies");
    }
    let hissing = ["s", "x", "z", "ch", "sh"].iter().any(|it| noun.ends_with(it));
    format!("{noun}{}", if hissing { "es" } else { "s" })
}

/// A personal pronoun as an object: `him` for `he`; `None` for another word.
pub fn oblique(pronoun: &str) -> Option<&'static str> {
    Some(match pronoun.to_lowercase().as_str() {
        "he" | "him" => "him",
        "she" | "her" => "her",
        "they" | "them" => "them",
        "everyone" | "everybody" => "everyone",
        "someone" | "somebody" => "someone",
        "me" => "me",
        "us" => "us",
        _ => return None,
    })
}

/// The indefinite article before a word, by its sound.
pub fn article(word: &str) -> &'static str {
    let lower = word.to_lowercase();
    let silent_h = ["hour", "honest", "heir", "honor"].iter().any(|it| lower.starts_with(it));
    let consonant =
        ["uni", "use", "eu", "one", "uku", "uten", "ura"].iter().any(|it| lower.starts_with(it));
    let umbrella = lower.starts_with("unin") || lower.starts_with("unim");
    if silent_h || lower.starts_with(['a', 'e', 'i', 'o', 'u']) && (!consonant || umbrella) {
        "an"
    } else {
        "a"
    }
}
