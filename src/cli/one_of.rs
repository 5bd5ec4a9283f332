//! Parser of command-line values that are one of a few names; their documentation is their help.

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};

use crate::choice::Choice;

/// Parses a value by its name.
pub(crate) fn one_of<T: Choice>() -> impl TypedValueParser<Value = T> {
    let values = T::all().iter().map(|it| PossibleValue::new(it.name()).help(help(it.doc())));
    PossibleValuesParser::new(values)
        .map(|name| T::named(&name).expect("only known names pass the parser"))
}

/// The first paragraph of the documentation, without its full stop.
fn help(doc: &str) -> String {
    let lines = doc.lines().map(str::trim).take_while(|it| !it.is_empty());
    lines.collect::<Vec<_>>().join(" ").trim_end_matches('.').to_owned()
}
