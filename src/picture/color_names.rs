//! Colors by their English names, and how well a color bears a name.
//!
//! The names' colors are those of the xkcd color survey (2010; CC0), in which some 200,000 people named colors on their
//! screens: what people call purple is far from the standards' `purple`. Distances are Euclidean in CIELAB (D65).

use image::Rgb;

/// A color in CIELAB: lightness 0 to 100, green to red, blue to yellow.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Lab([f32; 3]);

/// The basic color terms, of which every color has one (Berlin and Kay 1969), each with the colors that the survey has
/// for it: first the plain term's, then those of its shades (`light blue`, `dark blue`, `sky blue`, …).
const BASIC: &[(&str, &[u32])] = &[
    ("black", &[0x00_00_00]),
    ("white", &[0xff_ff_ff, 0xff_ff_e4]),
    ("gray", &[0x92_95_91, 0xd8_dc_d6, 0x36_37_37]),
    ("red", &[0xe5_00_00, 0xff_47_4c, 0x84_00_00]),
    ("orange", &[0xf9_73_06, 0xfd_aa_48, 0xc6_51_02]),
    ("yellow", &[0xff_ff_14, 0xff_fe_7a, 0xd5_b6_0a]),
    ("green", &[0x15_b0_1a, 0x96_f9_7b, 0x03_35_00, 0x06_47_0c, 0x01_ff_07, 0xc7_fd_b5]),
    ("blue", &[0x03_43_df, 0x95_d0_fc, 0x00_03_5b, 0x75_bb_fd, 0x05_04_aa, 0xd0_fe_fe, 0x5a_86_ad]),
    ("purple", &[0x7e_1e_9c, 0xbf_77_f6, 0x35_06_3e, 0x4b_00_6e, 0xb7_90_d4]),
    ("pink", &[0xff_81_c0, 0xff_d1_df, 0xcb_41_6b, 0xff_02_8d]),
    ("brown", &[0x65_37_00, 0xad_81_50, 0x34_1c_02, 0x7f_2b_0a]),
];

/// Other names.
#[expect(clippy::mistyped_literal_suffixes, reason = "a color that ends in 32")]
const OTHERS: &[(&str, u32)] = &[
    ("aqua", 0x13_ea_c9),
    ("auburn", 0x9a_30_01),
    ("azure", 0x06_9a_f3),
    ("beige", 0xe6_da_a6),
    ("blond", 0xfc_f6_79),
    ("blonde", 0xfc_f6_79),
    ("bronze", 0xa8_79_00),
    ("burgundy", 0x61_00_23),
    ("charcoal", 0x34_38_37),
    ("cobalt", 0x1e_48_8f),
    ("coral", 0xfc_5a_50),
    ("cream", 0xff_ff_c2),
    ("crimson", 0x8c_00_0f),
    ("cyan", 0x00_ff_ff),
    ("emerald", 0x01_a0_49),
    ("fuchsia", 0xed_0d_d9),
    ("gold", 0xdb_b4_0c),
    ("golden", 0xf5_bf_03),
    ("grey", 0x92_95_91),
    ("indigo", 0x38_02_82),
    ("ivory", 0xff_ff_cb),
    ("khaki", 0xaa_a6_62),
    ("lavender", 0xc7_9f_ef),
    ("lilac", 0xce_a2_fd),
    ("lime", 0xaa_ff_32),
    ("magenta", 0xc2_00_78),
    ("maroon", 0x65_00_21),
    ("mauve", 0xae_71_81),
    ("mint", 0x9f_fe_b0),
    ("mustard", 0xce_b3_01),
    ("navy", 0x01_15_3e),
    ("ochre", 0xbf_90_05),
    ("olive", 0x6e_75_0e),
    ("peach", 0xff_b0_7c),
    ("plum", 0x58_0f_41),
    ("rose", 0xcf_62_75),
    ("rust", 0xa8_3c_09),
    ("sage", 0x87_ae_73),
    ("salmon", 0xff_79_6c),
    ("scarlet", 0xbe_01_19),
    ("silver", 0xc5_c9_c7),
    ("tan", 0xd1_b2_6f),
    ("taupe", 0xb9_a2_81),
    ("teal", 0x02_93_86),
    ("turquoise", 0x06_c2_ac),
    ("violet", 0x9a_0e_ea),
];

/// How much farther from a name than from the nearest basic term a color lies that hardly bears it, in CIELAB: about
/// half of what parts neighbors such as blue and purple.
const FARTHER: f32 = 10.0;

impl Lab {
    /// Of an sRGB color.
    pub fn of(color: Rgb<u8>) -> Self {
        let linear = |level: u8| {
            let value = f32::from(level) / 255.0;
            if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        };
        let [r, g, b] = color.0.map(linear);
        let curve = |it: f32| {
            if it > 216.0 / 24389.0 { it.cbrt() } else { (24389.0 / 27.0 * it + 16.0) / 116.0 }
        };
        let x = curve((0.412_456_4 * r + 0.357_576_1 * g + 0.180_437_5 * b) / 0.950_47);
        let y = curve(0.212_672_9 * r + 0.715_152_2 * g + 0.072_175 * b);
        let z = curve((0.019_333_9 * r + 0.119_192 * g + 0.950_304_1 * b) / 1.088_83);
        Self([116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)])
    }

    /// Distance, about 2 where it is just noticeable.
    pub fn distance(self, other: Self) -> f32 {
        self.0.iter().zip(other.0).map(|(a, b)| (a - b).powi(2)).sum::<f32>().sqrt()
    }

    /// How well a color bears a name, 0 to 1: 1 if no basic term is nearer to it; `None` for a word that names none.
    pub fn likeness(self, word: &str) -> Option<f32> {
        let basic = BASIC.iter().find(|it| it.0 == word).map(|it| it.1);
        let other = || OTHERS.iter().find(|it| it.0 == word).map(|it| std::slice::from_ref(&it.1));
        let named = self.farness(basic.or_else(other)?);
        let nearest = BASIC.iter().map(|it| self.farness(it.1)).fold(f32::INFINITY, f32::min);
        Some((-(named - nearest).max(0.0) / FARTHER).exp())
    }

    /// Distance to the nearest of some colors, written in hexadecimal.
    fn farness(self, colors: &[u32]) -> f32 {
        let of = |hex: &u32| {
            let [_, r, g, b] = hex.to_be_bytes();
            self.distance(Self::of(Rgb([r, g, b])))
        };
        colors.iter().map(of).fold(f32::INFINITY, f32::min)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn likeness(color: [u8; 3], word: &str) -> f32 {
        Lab::of(Rgb(color)).likeness(word).unwrap()
    }

    #[test]
    fn lab_is_that_of_the_standard() {
        // CIE 15: sRGB red is L* 53.24, a* 80.09, b* 67.20.
        let Lab([l, a, b]) = Lab::of(Rgb([255, 0, 0]));
        assert!((l - 53.24).abs() < 0.05 && (a - 80.09).abs() < 0.05 && (b - 67.20).abs() < 0.05);
        let Lab([l, a, b]) = Lab::of(Rgb([255, 255, 255]));
        assert!((l - 100.0).abs() < 0.01 && a.abs() < 0.05 && b.abs() < 0.05);
    }

    #[test]
    fn a_shade_bears_its_own_name_best() {
        for (color, word) in [
            ([48, 84, 224], "blue"),
            ([146, 62, 190], "purple"),
            ([222, 42, 42], "red"),
            ([246, 138, 28], "orange"),
            ([246, 218, 50], "yellow"),
            ([48, 168, 62], "green"),
            ([246, 246, 246], "white"),
            ([28, 28, 30], "black"),
            ([20, 40, 110], "blue"),
            ([150, 200, 240], "blue"),
            ([120, 120, 124], "gray"),
            ([90, 60, 30], "brown"),
        ] {
            let best =
                BASIC.iter().max_by(|a, b| likeness(color, a.0).total_cmp(&likeness(color, b.0)));
            assert_eq!(best.unwrap().0, word, "{color:?}");
        }
    }

    #[test]
    fn neighbors_are_told_apart_and_words_that_name_no_color_say_nothing() {
        assert!(likeness([48, 84, 224], "blue") > 2.0 * likeness([146, 62, 190], "blue"));
        assert!(likeness([222, 42, 42], "green") < 0.01);
        assert_eq!(Lab::of(Rgb([1, 2, 3])).likeness("wooden"), None);
        assert!(
            (likeness([120, 120, 124], "gray") - likeness([120, 120, 124], "grey")).abs() < 0.5
        );
    }
}
