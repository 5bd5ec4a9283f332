//! Collects a file's metadata from its chunks or segments.

use std::collections::BTreeSet;

use crate::picture::{
    container::{self, Part, segment},
    format::FileFormat,
    metadata::{
        ColorChunk, Density, Metadata,
        dropped::{self, Dropped},
        exif, iptc,
        texts::{self, ChunkContent, Text},
        xmp::Xmp,
    },
    settings::JPEG_XMP_HEADER,
    size::Size,
};

/// Prefix of an APP1 segment with part of an extended XMP packet.
const EXTENDED_XMP: &[u8] = b"http://ns.adobe.com/xmp/extension/\0";

/// Collects a whole file's metadata. `size` is the picture's upright size, `turned` whether the orientation swapped its
/// sides.
pub(in crate::picture) fn gather(
    format: FileFormat,
    bytes: &[u8],
    size: Size,
    turned: bool,
) -> Metadata {
    let mut found = Gathered { metadata: Metadata::default(), xmp: None, size, turned };
    for part in container::parts(format, bytes).map_while(Result::ok) {
        let fault = match format {
            _ if container::exif(format, &part).is_some() => found.exif(format, &part),
            FileFormat::Png => found.png(&part),
            FileFormat::Jpeg => found.jpeg(&part),
            FileFormat::WebP => found.webp(&part),
        };
        found.metadata.dropped.extend(fault.err());
    }
    found.finished()
}

struct Gathered {
    metadata: Metadata,
    /// The XMP packet, as stored in the file.
    xmp: Option<String>,
    size: Size,
    turned: bool,
}

impl Gathered {
    fn finished(mut self) -> Metadata {
        let mut dropped = BTreeSet::new();
        match self.xmp.map(|it| Xmp::read(&it, &mut dropped)) {
            Some(Ok(xmp)) => self.metadata.xmp = xmp,
            Some(Err(fault)) => {
                dropped.insert(fault);
            }
            None => {}
        }
        self.metadata.dropped.extend(dropped);
        self.metadata
    }

    /// The first EXIF block is used, as for the orientation.
    fn exif(&mut self, format: FileFormat, part: &Part<'_>) -> Result<(), Dropped> {
        if self.metadata.exif.is_some() {
            return Ok(());
        }
        let tiff = container::exif(format, part).unwrap_or_default();
        let mut dropped = BTreeSet::new();
        let cleaned = exif::cleaned(tiff, self.size, self.turned, &mut dropped)?;
        self.metadata.dropped.extend(dropped);
        self.metadata.exif = cleaned.block;
        self.metadata.density = self.metadata.density.or(cleaned.density);
        Ok(())
    }

    fn png(&mut self, part: &Part<'_>) -> Result<(), Dropped> {
        match &part.tag {
            b"gAMA" | b"cHRM" | b"cICP" | b"sRGB" | b"mDCV" | b"cLLI" => self.color(part)?,
            b"pHYs" => {
                let body = part.body.first_chunk::<9>().ok_or(Dropped::Malformed("resolution"))?;
                let side = |at: usize| {
                    let bytes = body[at..].first_chunk().expect("nine bytes hold two sides");
                    f64::from(u32::from_be_bytes(*bytes))
                };
                let is_metric = body[8] == 1;
                let scale = if is_metric { 0.0254 } else { 1.0 };
                self.density(Density::new(side(0) * scale, side(4) * scale, is_metric));
            }
            b"tEXt" | b"zTXt" | b"iTXt" => match texts::read(part.tag, part.body) {
                ChunkContent::Text(text) => texts::add(&mut self.metadata.texts, text)?,
                ChunkContent::Xmp(packet) => self.xmp = Some(packet),
                ChunkContent::Dropped(dropped) => return Err(dropped),
                ChunkContent::Own => {}
            },
            b"caBX" => return Err(Dropped::Credentials),
            _ => {}
        }
        Ok(())
    }

    fn jpeg(&mut self, part: &Part<'_>) -> Result<(), Dropped> {
        let body = part.body;
        match part.tag {
            segment::APP0 => {
                // Version, unit, across, down.
                let Some(&[_, _, unit, a, b, c, d]) =
                    body.strip_prefix(b"JFIF\0").and_then(<[u8]>::first_chunk)
                else {
                    return Ok(());
                };
                let side = |it| f64::from(u16::from_be_bytes(it));
                let scale = if unit == 2 { 2.54 } else { 1.0 };
                let (across, down) = (side([a, b]) * scale, side([c, d]) * scale);
                self.density(Density::new(across, down, unit > 0));
            }
            segment::APP1 => {
                if let Some(packet) = body.strip_prefix(JPEG_XMP_HEADER) {
                    let packet = std::str::from_utf8(packet);
                    self.xmp = Some(packet.map_err(|_| Dropped::Malformed("XMP"))?.to_owned());
                } else if body.starts_with(EXTENDED_XMP) {
                    return Err(Dropped::Attached);
                }
            }
            segment::APP11 if body.starts_with(b"JP") => return Err(Dropped::Credentials),
            segment::APP13 => {
                let Some(resources) = body.strip_prefix(iptc::HEADER) else { return Ok(()) };
                let (data, has_thumbnail) =
                    iptc::read(resources).ok_or(Dropped::Malformed("IPTC"))?;
                self.metadata.iptc = data.or(self.metadata.iptc.take());
                if has_thumbnail {
                    return Err(Dropped::Thumbnail);
                }
            }
            segment::COM => {
                let text = body.strip_suffix(&[0]).unwrap_or(body);
                let text = String::from_utf8(text.to_vec()).unwrap_or_else(|_| texts::latin1(body));
                if dropped::is_prompt(&text) {
                    return Err(Dropped::OtherPrompt);
                }
                texts::add(&mut self.metadata.texts, Text { keyword: "Comment".to_owned(), text })?;
            }
            _ => {}
        }
        Ok(())
    }

    fn webp(&mut self, part: &Part<'_>) -> Result<(), Dropped> {
        match &part.tag {
            b"XMP " => {
                let packet = std::str::from_utf8(part.body);
                self.xmp = Some(packet.map_err(|_| Dropped::Malformed("XMP"))?.to_owned());
            }
            b"C2PA" => return Err(Dropped::Credentials),
            _ => {}
        }
        Ok(())
    }

    fn color(&mut self, part: &Part<'_>) -> Result<(), Dropped> {
        let length = match &part.tag {
            b"cHRM" => 32,
            b"mDCV" => 24,
            b"cLLI" => 8,
            b"sRGB" => 1,
            _ => 4,
        };
        if part.body.len() != length {
            return Err(Dropped::Malformed("color information"));
        }
        let chunk = ColorChunk { tag: part.tag, body: part.body.to_vec() };
        if self.metadata.color.iter().all(|it| it.tag != chunk.tag) {
            self.metadata.color.push(chunk);
        }
        Ok(())
    }

    /// The container's resolution takes precedence over EXIF's.
    fn density(&mut self, density: Option<Density>) {
        let turn = |it: Density| Density { across: it.down, down: it.across, ..it };
        let density = density.map(|it| if self.turned { turn(it) } else { it });
        self.metadata.density = density.or(self.metadata.density);
    }
}
