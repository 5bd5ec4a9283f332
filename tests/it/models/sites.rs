//! The U-Net's attention layers, and the Q, K and V that an attention processor gets there.

use std::collections::BTreeMap;

use retouch::{
    attention::{
        processor::AttnProcessor,
        qkv::{Attended, Qkv},
        role::Role,
        site::{AttnSite, Keys, Stage},
    },
    models::stable_diffusion::unet_2d_condition_config::{BlockType, UNet2DConditionConfig},
};
use tch::{Kind, Tensor};

use super::{configs::IP2P_UNET, unet_with};

/// Notes each site with its queries, keys and roles.
#[derive(Default)]
struct Recorder {
    seen: Vec<(AttnSite, i64, i64, Vec<Role>)>,
    heads: Vec<i64>,
}

impl AttnProcessor for Recorder {
    fn watches(&self, _site: &AttnSite) -> bool {
        true
    }

    fn visit(&mut self, site: &AttnSite, qkv: &Qkv<'_>, _attended: &Attended) {
        let (_, heads, queries, _) = qkv.query.size4().unwrap();
        self.seen.push((*site, queries, qkv.key.size()[2], qkv.roles.to_vec()));
        self.heads.push(heads);
    }
}

#[test]
fn sites_are_those_that_a_guest_sees_at_their_true_sizes() {
    const TOKENS: i64 = 5;
    let changes: [fn(&mut UNet2DConditionConfig); 2] =
        [|_| {}, |config| config.downsample_padding = 0];
    for (name, change) in
        ["sd1", "linear"].iter().flat_map(|name| changes.map(|change| (name, change)))
    {
        let unet = unet_with(name, Kind::Float, change);
        let config = unet.config();
        for (height, width) in [(16, 16), (16, 8), (13, 9), (9, 23), (8, 8)] {
            let mut recorder = Recorder::default();
            let roles = [Role::Uncond, Role::Text];
            let out = unet.forward(
                &Tensor::randn(
                    [2, config.in_channels, height, width],
                    (Kind::Float, tch::Device::Cpu),
                ),
                &Tensor::from_slice(&[3.0, 700.0]),
                &Tensor::randn(
                    [2, TOKENS, config.cross_attention_dim],
                    (Kind::Float, tch::Device::Cpu),
                ),
                &roles,
                &mut recorder,
            );
            assert_eq!(out.size(), [2, config.out_channels, height, width]);
            let seen: Vec<_> = recorder.seen.iter().map(|(site, ..)| *site).collect();
            assert_eq!(unet.sites(height, width), seen, "{name} at {height}x{width}");
            for ((site, queries, keys, seen_roles), heads) in
                recorder.seen.iter().zip(&recorder.heads)
            {
                assert_eq!(*queries, site.height * site.width, "{site}");
                assert_eq!(
                    *keys,
                    if site.keys == Keys::Image { *queries } else { TOKENS },
                    "{site}"
                );
                assert_eq!(*seen_roles, roles, "{site}");
                assert_eq!(*heads, config.num_attention_heads[site.level.unwrap()], "{site}");
            }
        }
    }
}

#[test]
fn instruct_pix2pix_has_32_attention_layers_at_the_published_sizes() {
    let config = UNet2DConditionConfig::from_json(IP2P_UNET).unwrap();
    let sites = config.sites(64, 64);
    assert_eq!(sites.len(), 32);
    assert!(config.num_attention_heads.iter().all(|heads| *heads == 8));

    let mut self_attn = BTreeMap::new();
    for site in sites.iter().filter(|site| site.keys == Keys::Image) {
        assert_eq!(site.height, site.width);
        *self_attn.entry((site.stage, site.block, site.height)).or_insert(0) += 1;
    }
    let expected = [
        ((Stage::Down, 0, 64), 2),
        ((Stage::Down, 1, 32), 2),
        ((Stage::Down, 2, 16), 2),
        ((Stage::Mid, 0, 8), 1),
        ((Stage::Up, 1, 16), 3),
        ((Stage::Up, 2, 32), 3),
        ((Stage::Up, 3, 64), 3),
    ];
    assert_eq!(self_attn, BTreeMap::from(expected));
    // Each self-attention is followed by the cross-attention of the same transformer block.
    for pair in sites.chunks(2) {
        assert_eq!(AttnSite { keys: Keys::Text, ..pair[0] }, pair[1]);
    }
    assert_eq!(sites[0].to_string(), "down_blocks.0.attentions.0.transformer_blocks.0.attn1");
    assert_eq!(sites[31].to_string(), "up_blocks.3.attentions.2.transformer_blocks.0.attn2");
    assert_eq!(config.up_block_types[0], BlockType::Plain);
}
