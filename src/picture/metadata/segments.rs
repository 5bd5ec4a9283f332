//! Writes metadata as PNG chunks, JPEG segments and WebP chunks.

use crate::picture::{
    format::FileFormat,
    metadata::{
        Density, Metadata, Policy,
        dropped::Dropped,
        exif, iptc,
        xmp::{self, Property},
    },
    settings,
};

/// Maximum bytes of a JPEG segment's body.
const SEGMENT: usize = 65_533;

/// Maximum bytes of the input's XMP in a JPEG, so that the settings fit beside it.
const KEPT_XMP: usize = 32 << 10;

/// Prefix of a JPEG EXIF segment.
const EXIF_HEADER: &[u8] = b"Exif\0\0";

/// A chunk to be written after a PNG's header.
pub(in crate::picture) type PngChunk = ([u8; 4], Vec<u8>);

/// The bodies of a JPEG's segments, each with its marker's low byte, and the JFIF density.
#[derive(Debug)]
pub(in crate::picture) struct JpegParts {
    pub(in crate::picture) segments: Vec<(u8, Vec<u8>)>,
    /// JFIF density: (per inch, horizontal, vertical).
    pub(in crate::picture) density: Option<(bool, u16, u16)>,
}

/// The EXIF and XMP chunks of a WebP.
#[derive(Debug)]
pub(in crate::picture) struct WebPParts {
    pub(in crate::picture) exif: Option<Vec<u8>>,
    pub(in crate::picture) xmp: Vec<u8>,
}

/// Metadata that a format can't store.
pub(super) fn unfit(metadata: &Metadata, format: FileFormat) -> Vec<Dropped> {
    let mut unfit = Vec::new();
    if format == FileFormat::Jpeg {
        let is_long = |it: &Option<Vec<u8>>, most| it.as_ref().is_some_and(|it| it.len() > most);
        let faults = [
            (is_long(&metadata.exif, SEGMENT - EXIF_HEADER.len()), "EXIF"),
            (metadata.xmp.as_ref().is_some_and(|it| it.len() > KEPT_XMP), "XMP"),
            (is_long(&metadata.iptc, SEGMENT - 64), "IPTC"),
        ];
        unfit.extend(faults.into_iter().filter(|it| it.0).map(|it| Dropped::TooLarge(it.1)));
    }
    if format != FileFormat::Png {
        let homeless = metadata.texts.iter().filter(|it| {
            it.property().is_none() && !(format == FileFormat::Jpeg && it.keyword == COMMENT)
        });
        unfit.extend(homeless.map(|it| Dropped::Text(it.keyword.clone())));
    }
    unfit
}

/// PNG keyword that corresponds to a JPEG comment.
const COMMENT: &str = "Comment";

/// The chunks of a PNG except the ICC profile.
pub(in crate::picture) fn png(metadata: &Metadata, policy: Policy, record: &str) -> Vec<PngChunk> {
    let mut chunks: Vec<PngChunk> = Vec::new();
    if policy.keeps_color() {
        chunks.extend(metadata.color.iter().map(|it| (it.tag, it.body.clone())));
        chunks.push((*b"iTXt", itxt(settings::PNG_KEYWORD, record)));
    }
    let keep = policy == Policy::Keep;
    if let Some(density) = metadata.density.filter(|_| keep) {
        chunks.push((*b"pHYs", density.phys()));
    }
    if let Some(block) = metadata.exif.clone().filter(|_| keep) {
        chunks.push((*b"eXIf", block));
    }
    let iptc = if keep { said_by_iptc(metadata) } else { vec![] };
    let packet = xmp::packet(metadata.xmp.as_ref().filter(|_| keep), &iptc, None);
    chunks.push((*b"iTXt", itxt("XML:com.adobe.xmp", &packet)));
    if keep {
        chunks.extend(metadata.texts.iter().map(super::texts::Text::chunk));
    }
    chunks
}

/// The segments of a JPEG.
///
/// # Errors
/// The size in bytes of the packet with the settings alone, if it exceeds a segment.
pub(in crate::picture) fn jpeg(
    metadata: &Metadata,
    policy: Policy,
    record: &str,
) -> Result<JpegParts, usize> {
    let keep = policy == Policy::Keep;
    let mut segments = Vec::new();
    let block = metadata.exif.as_deref().filter(|_| keep);
    if let Some(block) = block.filter(|it| it.len() <= SEGMENT - EXIF_HEADER.len()) {
        segments.push((0xE1, [EXIF_HEADER, block].concat()));
    }
    let record = policy.keeps_color().then_some(record);
    let kept = metadata.xmp.as_ref().filter(|it| keep && it.len() <= KEPT_XMP);
    let said = if keep { said_by_texts(metadata) } else { vec![] };
    let segment = |packet: String| [settings::JPEG_XMP_HEADER, packet.as_bytes()].concat();
    let mut packet = segment(xmp::packet(kept, &said, record));
    if packet.len() > SEGMENT {
        packet = segment(xmp::packet(None, &[], record));
    }
    if packet.len() > SEGMENT {
        return Err(packet.len() - settings::JPEG_XMP_HEADER.len());
    }
    segments.push((0xE1, packet));
    let iptc = metadata.iptc.as_ref().filter(|it| keep && it.len() <= SEGMENT - 64);
    segments.extend(iptc.map(|it| (0xED, iptc::segment(it))));
    let comment = metadata.texts.iter().find(|it| keep && it.keyword == COMMENT);
    let comment = comment.map(|it| it.text.as_bytes()).filter(|it| it.len() <= SEGMENT);
    segments.extend(comment.map(|it| (0xFE, it.to_vec())));
    Ok(JpegParts { segments, density: metadata.density.filter(|_| keep).and_then(Density::jfif) })
}

/// Maximum bytes of a JPEG's XMP packet.
pub(in crate::picture) const JPEG_PACKET: usize = SEGMENT - settings::JPEG_XMP_HEADER.len();

/// The chunks of a WebP except the ICC profile.
pub(in crate::picture) fn webp(metadata: &Metadata, policy: Policy, record: &str) -> WebPParts {
    let keep = policy == Policy::Keep;
    let block = metadata.exif.as_deref().filter(|_| keep);
    let density = metadata.density.filter(|_| keep);
    let exif = match density.and_then(|it| exif::with_density(block, it)) {
        Some(with) => Some(with),
        None => block.map(<[u8]>::to_vec),
    };
    let mut said = if keep { said_by_texts(metadata) } else { vec![] };
    said.extend(if keep { said_by_iptc(metadata) } else { vec![] });
    let record = policy.keeps_color().then_some(record);
    let packet = xmp::packet(metadata.xmp.as_ref().filter(|_| keep), &said, record);
    WebPParts { exif, xmp: packet.into_bytes() }
}

fn said_by_texts(metadata: &Metadata) -> Vec<(Property, String)> {
    metadata.texts.iter().filter_map(super::texts::Text::property).collect()
}

fn said_by_iptc(metadata: &Metadata) -> Vec<(Property, String)> {
    metadata.iptc.as_deref().map(iptc::properties).unwrap_or_default()
}

fn itxt(keyword: &str, text: &str) -> Vec<u8> {
    // No compression, no language, no translated keyword.
    [keyword.as_bytes(), &[0; 5], text.as_bytes()].concat()
}

impl Density {
    /// A resolution; `None` if invalid, or if it is an aspect ratio of 1.
    pub(super) fn new(across: f64, down: f64, is_per_inch: bool) -> Option<Density> {
        let is_sound = |it: f64| it.is_finite() && (0.01..1e7).contains(&it);
        let says = is_per_inch || (across - down).abs() > f64::EPSILON;
        (is_sound(across) && is_sound(down) && says).then_some(Density {
            across,
            down,
            is_per_inch,
        })
    }

    /// As the body of a pHYs chunk: pixels per meter, or the ratio.
    fn phys(self) -> Vec<u8> {
        let scale = if self.is_per_inch { 0.0254 } else { 1.0 };
        let side = |it: f64| ((it / scale).round().max(1.0) as u32).to_be_bytes();
        [side(self.across).as_slice(), &side(self.down), &[u8::from(self.is_per_inch)]].concat()
    }

    /// As JFIF density: pixels per inch, or the ratio; `None` if out of its range.
    fn jfif(self) -> Option<(bool, u16, u16)> {
        let side = |it: f64| u16::try_from(it.round() as u32).ok().filter(|it| *it > 0);
        Some((self.is_per_inch, side(self.across)?, side(self.down)?))
    }
}
