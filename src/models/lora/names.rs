//! The names under which LoRAs know a model's modules: the network's own, and those of the layouts that were before.

use std::collections::BTreeMap;

use crate::models::lora::{
    flux2,
    keys::{Module, Net, flat},
    merge::Rows,
};

/// How the modules of a model are called in LoRA files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Architecture {
    /// Stable Diffusion 1.x and 2.x: diffusers' names, and those of the original layout.
    StableDiffusion {
        /// Residual blocks in a level's down block, by which the original layout numbers its blocks.
        layers_per_block: usize,
    },
    /// FLUX.2 with a transformer in diffusers' layout: its names, and Black Forest Labs'.
    Flux2,
}

/// A tensor of the model that a change is added to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    /// The network's number, in the order that the table was made with.
    pub(super) network: usize,
    /// Its key in that network's weights.
    pub(super) key: String,
    /// Its rows and columns; a convolution's kernel counts to the columns.
    pub(super) shape: [i64; 2],
    /// The rows of the change that it gets.
    pub(super) rows: Rows,
}

/// The tensors of each module, under all its names.
pub(super) type Table = BTreeMap<Module, Vec<Target>>;

impl Architecture {
    /// What a model of it is, in words.
    pub(super) fn described(self) -> &'static str {
        match self {
            Self::StableDiffusion { .. } => "InstructPix2Pix on Stable Diffusion 1.x or 2.x",
            Self::Flux2 => "FLUX.2",
        }
    }

    /// All names of a module, beside the one that the network's weights have.
    fn aliases(self, net: Net, module: &str) -> Vec<(String, Rows)> {
        match (self, net) {
            (Self::StableDiffusion { layers_per_block }, Net::Denoiser) => {
                let mut names: Vec<String> =
                    original(module, layers_per_block).into_iter().collect();
                // An upsampler is third in a level with attention, second in one without.
                let plain = names.first().and_then(|it| it.strip_suffix(".2.conv"));
                names.extend(plain.map(|it| format!("{it}.1.conv")));
                names.into_iter().map(|it| (it, Rows::All)).collect()
            }
            // With and without the prefix that transformers' classes have, or not.
            (Self::StableDiffusion { .. }, Net::TextEncoder) => {
                let bare = module.strip_prefix("text_model.");
                let other = bare.map_or_else(|| format!("text_model.{module}"), str::to_owned);
                vec![(other, Rows::All)]
            }
            (Self::Flux2, Net::Denoiser) => flux2::aliases(module),
            (Self::Flux2, Net::TextEncoder) | (_, Net::OtherTextEncoder) => Vec::new(),
        }
    }
}

/// The table of a model whose networks have weights of these keys and shapes.
pub(super) fn table<'a>(
    architecture: Architecture,
    weights: impl Iterator<Item = (usize, Net, &'a str, &'a [i64])>,
) -> Table {
    let mut table = Table::new();
    for (network, net, key, shape) in weights {
        let Some(module) = key.strip_suffix(".weight").filter(|_| shape.len() >= 2) else {
            continue;
        };
        let shape = [shape[0], shape[1..].iter().product()];
        let own = [(module.to_owned(), Rows::All)];
        for (name, rows) in own.into_iter().chain(architecture.aliases(net, module)) {
            let module = Module { net, name: flat(&name) };
            let target = Target { network, key: key.to_owned(), shape, rows };
            table.entry(module).or_default().push(target);
        }
    }
    table
}

/// A module of diffusers' U-Net in the original layout, with `.`; the reverse of how single files are read.
fn original(module: &str, layers_per_block: usize) -> Option<String> {
    let per_level = layers_per_block + 1;
    let mut segments = module.splitn(4, '.');
    let (first, second) = (segments.next()?, segments.next().unwrap_or_default());
    let (third, rest) = (segments.next().unwrap_or_default(), segments.next().unwrap_or_default());
    // Of the middle, whose blocks have no number, the parts lie one segment earlier.
    let middle = module.strip_prefix("mid_block.");
    Some(match (first, second) {
        ("conv_in", "") => "input_blocks.0.0".to_owned(),
        ("conv_out", "") => "out.2".to_owned(),
        ("time_embedding", "linear_1") => "time_embed.0".to_owned(),
        ("time_embedding", "linear_2") => "time_embed.2".to_owned(),
        ("mid_block", _) => {
            let (kind, rest) = middle?.split_once('.')?;
            let (number, rest) = rest.split_once('.')?;
            match (kind, number) {
                ("resnets", "0") => format!("middle_block.0.{}", resnet(rest)?),
                ("attentions", "0") => format!("middle_block.1.{rest}"),
                ("resnets", "1") => format!("middle_block.2.{}", resnet(rest)?),
                _ => return None,
            }
        }
        ("down_blocks" | "up_blocks", level) => {
            let level: usize = level.parse().ok()?;
            let down = first == "down_blocks";
            let way = if down { "input_blocks" } else { "output_blocks" };
            let (number, rest) = rest.split_once('.')?;
            let number: usize = number.parse().ok()?;
            let block = |number: usize| level * per_level + number + usize::from(down);
            match third {
                "resnets" => format!("{way}.{}.0.{}", block(number), resnet(rest)?),
                "attentions" => format!("{way}.{}.1.{rest}", block(number)),
                "downsamplers" => format!("{way}.{}.0.op", block(layers_per_block)),
                "upsamplers" => format!("{way}.{}.2.conv", block(layers_per_block)),
                _ => return None,
            }
        }
        _ => return None,
    })
}

/// A module of a residual block in the original layout.
fn resnet(name: &str) -> Option<&'static str> {
    let names = [
        ("conv1", "in_layers.2"),
        ("time_emb_proj", "emb_layers.1"),
        ("conv2", "out_layers.3"),
        ("conv_shortcut", "skip_connection"),
    ];
    names.iter().find(|(new, _)| *new == name).map(|(_, old)| *old)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_original_layout_numbers_blocks_through() {
        for (module, expected) in [
            ("conv_in", "input_blocks.0.0"),
            ("down_blocks.0.resnets.0.conv1", "input_blocks.1.0.in_layers.2"),
            (
                "down_blocks.1.attentions.1.transformer_blocks.0.attn2.to_k",
                "input_blocks.5.1.transformer_blocks.0.attn2.to_k",
            ),
            ("down_blocks.0.downsamplers.0.conv", "input_blocks.3.0.op"),
            ("down_blocks.3.resnets.1.conv2", "input_blocks.11.0.out_layers.3"),
            ("mid_block.attentions.0.proj_in", "middle_block.1.proj_in"),
            ("mid_block.resnets.1.time_emb_proj", "middle_block.2.emb_layers.1"),
            ("up_blocks.0.resnets.2.conv_shortcut", "output_blocks.2.0.skip_connection"),
            ("up_blocks.3.attentions.2.proj_out", "output_blocks.11.1.proj_out"),
            ("up_blocks.1.upsamplers.0.conv", "output_blocks.5.2.conv"),
            ("time_embedding.linear_2", "time_embed.2"),
            ("conv_out", "out.2"),
        ] {
            assert_eq!(original(module, 2).as_deref(), Some(expected), "{module}");
        }
        assert_eq!(original("down_blocks.0.resnets.0.norm1", 2), None);
    }
}
