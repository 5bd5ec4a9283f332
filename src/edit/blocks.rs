//! Names of a network's blocks in a model's settings: `transformer_blocks.2`, `single_transformer_blocks.0-7`.

use serde::{Deserialize, Deserializer, de::Error};

/// Some blocks, by diffusers' names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blocks(Vec<BlockRange>);

/// Blocks of one list, from one index to another.
#[derive(Debug, Clone, PartialEq, Eq)]
struct BlockRange {
    list: String,
    first: usize,
    last: usize,
}

impl Blocks {
    /// Accepted values, for messages.
    pub const RANGE: &'static str =
        "a list of blocks by diffusers' names, as `single_transformer_blocks.0-7`";

    /// From a list of names.
    ///
    /// # Errors
    /// The name that is none, or an empty text if there is no name at all.
    pub fn parse(names: &[String]) -> Result<Self, String> {
        let ranges: Result<Vec<_>, _> =
            names.iter().map(|it| BlockRange::parse(it).ok_or_else(|| it.clone())).collect();
        match ranges? {
            ranges if ranges.is_empty() => Err(String::new()),
            ranges => Ok(Self(ranges)),
        }
    }

    /// Whether a layer's name, such as `transformer_blocks.2.attn`, is of one of them.
    pub fn hold(&self, layer: &str) -> bool {
        self.0.iter().any(|it| it.index_of(layer).is_some())
    }

    /// A block that none of these layers is of.
    pub fn missing<'a>(&self, layers: impl Iterator<Item = &'a str> + Clone) -> Option<String> {
        self.0.iter().find_map(|range| {
            let has = |index: usize| layers.clone().any(|it| range.index_of(it) == Some(index));
            let missing = (range.first..=range.last).find(|&it| !has(it));
            missing.map(|index| format!("{}.{index}", range.list))
        })
    }
}

impl BlockRange {
    fn parse(name: &str) -> Option<Self> {
        let (list, range) = name.rsplit_once('.')?;
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last) = (first.parse().ok()?, last.parse().ok()?);
        (first <= last && last < 1000 && !list.is_empty()).then(|| Self {
            list: list.to_owned(),
            first,
            last,
        })
    }

    /// The index of a layer's block, if it is one of these.
    fn index_of(&self, layer: &str) -> Option<usize> {
        let rest = layer.strip_prefix(&self.list)?.strip_prefix('.')?;
        let index = rest.split('.').next()?.parse().ok()?;
        (self.first..=self.last).contains(&index).then_some(index)
    }
}

impl<'de> Deserialize<'de> for Blocks {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let names = Vec::<String>::deserialize(deserializer)?;
        Self::parse(&names).map_err(|name| {
            D::Error::custom(format!("`{name}` is no name of blocks, expected {}", Self::RANGE))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks(names: &[&str]) -> Result<Blocks, String> {
        Blocks::parse(&names.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn layers_are_found_by_their_blocks_names() {
        let chosen = blocks(&["transformer_blocks.1", "single_transformer_blocks.0-2"]).unwrap();
        for (layer, holds) in [
            ("transformer_blocks.1.attn", true),
            ("transformer_blocks.11.attn", false),
            ("transformer_blocks.0.attn", false),
            ("single_transformer_blocks.2.attn", true),
            ("single_transformer_blocks.3.attn", false),
        ] {
            assert_eq!(chosen.hold(layer), holds, "{layer}");
        }
        let layers = ["transformer_blocks.1.attn", "single_transformer_blocks.0.attn"];
        let missing = chosen.missing(layers.into_iter());
        assert_eq!(missing.as_deref(), Some("single_transformer_blocks.1"));
        let unet = blocks(&["up_blocks.1"]).unwrap();
        assert!(unet.hold("up_blocks.1.attentions.0.transformer_blocks.0.attn2"));
    }

    #[test]
    fn what_names_no_block_is_refused() {
        for name in ["", "transformer_blocks", "transformer_blocks.x", "a.3-1", ".4", "a.0-4000"] {
            assert_eq!(blocks(&[name]), Err(name.to_owned()));
        }
        assert!(blocks(&[]).is_err());
    }
}
