//! The layers of a tiny autoencoder, as its tensors' keys and shapes tell.

use std::collections::BTreeMap;

/// What a layer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layer {
    /// The first convolution; the decoder's has a `ReLU` behind it.
    First { relu: bool },
    /// A convolution without bias that halves, or that has each cell doubled before it.
    Resampled { grows: bool },
    /// A residual block.
    Block {
        /// Whether it pools over the picture.
        pools: bool,
    },
    /// The last convolution.
    Last,
}

/// All layers with the numbers that their keys have, and their widths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) layers: Vec<(usize, Layer)>,
    pub(super) in_channels: i64,
    pub(super) channels: i64,
    pub(super) out_channels: i64,
}

impl Plan {
    /// The plan of a half, from its tensors' shapes under diffusers' keys; `None` if they are none of one.
    pub(super) fn of(shapes: &BTreeMap<String, Vec<i64>>, is_decoder: bool) -> Option<Self> {
        let number = |key: &String| key.strip_prefix("layers.")?.split('.').next()?.parse().ok();
        let last: usize = shapes.keys().filter_map(number).max()?;
        let weight = |at: usize| shapes.get(&format!("layers.{at}.weight"));
        let has = |at: usize, name: &str| shapes.contains_key(&format!("layers.{at}.{name}"));
        let first = weight(0).filter(|it| it.len() == 4)?;
        let final_weight = weight(last).filter(|it| it.len() == 4)?;
        let layers = (0..=last).filter_map(|at| {
            let layer = if at == 0 {
                Layer::First { relu: is_decoder }
            } else if at == last {
                Layer::Last
            } else if has(at, "conv.0.weight") {
                Layer::Block { pools: has(at, "pool.0.weight") }
            } else if has(at, "weight") {
                Layer::Resampled { grows: is_decoder }
            } else {
                return None; // An activation, or the doubling.
            };
            Some((at, layer))
        });
        Some(Self {
            layers: layers.collect(),
            in_channels: first[1],
            channels: first[0],
            out_channels: final_weight[0],
        })
    }
}
