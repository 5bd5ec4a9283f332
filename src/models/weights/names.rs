//! Old tensor names, mapped to diffusers' current ones.

/// Names of the VAE's attention layers before diffusers 0.16, which published InstructPix2Pix snapshots have, and their
/// current names (diffusers: `ModelMixin._fix_state_dict_keys_on_load`).
const OLD_ATTENTION: [(&str, &str); 4] =
    [("query", "to_q"), ("key", "to_k"), ("value", "to_v"), ("proj_attn", "to_out.0")];

/// The current key of a stored key.
pub(super) fn modern(key: &str) -> String {
    let mut segments: Vec<&str> = key.split('.').collect();
    // … "attentions", number, "query", "weight"
    if let [.., "attentions", _, layer, _] = segments.as_mut_slice()
        && let Some((_, modern)) = OLD_ATTENTION.iter().find(|(old, _)| old == layer)
    {
        *layer = modern;
    }
    segments.join(".")
}

/// Whether a tensor of shape `stored` can be used for `wanted`: equal except for trailing ones, in which a 1×1
/// convolution differs from a linear layer.
pub(super) fn same_matrix(stored: &[i64], wanted: &[i64]) -> bool {
    let (short, long) =
        if stored.len() < wanted.len() { (stored, wanted) } else { (wanted, stored) };
    let common = short.len();
    short == &long[..common]
        && (common >= 2 || common == long.len())
        && long[common..].iter().all(|&side| side == 1)
}

#[cfg(test)]
mod tests {
    use super::{modern, same_matrix};

    #[test]
    fn old_attention_names_become_modern_ones() {
        let key = "decoder.mid_block.attentions.0.proj_attn.bias";
        assert_eq!(modern(key), "decoder.mid_block.attentions.0.to_out.0.bias");
        let key = "down_blocks.0.attentions.1.transformer_blocks.0.attn1.to_q.weight";
        assert_eq!(modern(key), key);
        assert_eq!(modern("key.weight"), "key.weight");
    }

    #[test]
    fn only_ones_at_the_end_of_a_matrix_are_forgiven() {
        assert!(same_matrix(&[4, 3, 1, 1], &[4, 3]));
        assert!(same_matrix(&[4, 3], &[4, 3, 1, 1]));
        assert!(same_matrix(&[4], &[4]));
        assert!(!same_matrix(&[4, 1], &[4]));
        assert!(!same_matrix(&[4, 3, 3, 3], &[4, 3]));
        assert!(!same_matrix(&[3, 4], &[4, 3]));
    }
}
