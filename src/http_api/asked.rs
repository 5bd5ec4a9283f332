//! What a request asks for, from its fields.

use crate::edit::{choices::Preserve, settings::Modulation};
use crate::http_api::{fields::Fields, said::wrong};
use crate::picture::format::FileFormat;
use crate::server::refusal::Refusal;
use crate::wire::v1::{Image, MaskPolicy};

/// What clients whose settings name no model send for one; `Open WebUI` writes Python's `None`.
const NO_MODEL: [&str; 2] = ["", "None"];
/// Most images of a request.
const MAX_IMAGES: u64 = 10;
/// Most partial images of a stream.
const MAX_PARTIALS: u64 = 3;
/// Largest side of a `size`, in pixels.
const MAX_SIDE: u32 = 65_535;

/// The pictures of a request.
#[derive(Debug, Default)]
pub(super) struct Pictures {
    /// The picture to edit.
    pub(super) image: Option<Image>,
    /// A mask whose transparent part may change.
    pub(super) mask: Option<Image>,
    /// A mask whose white part may change.
    pub(super) retouch_mask: Option<Image>,
}

/// A request for an edit.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) pictures: Pictures,
    pub(super) prompt: String,
    pub(super) model: Option<String>,
    /// Number of images.
    pub(super) count: u64,
    /// A size that the result would have, were it not that of the picture.
    pub(super) size: Option<(u32, u32)>,
    pub(super) format: FileFormat,
    /// Quality of a JPEG.
    pub(super) quality: Option<u32>,
    pub(super) stream: bool,
    pub(super) partial_images: u32,
    /// Whom the caller edits for.
    pub(super) user: Option<String>,
    pub(super) extras: Extras,
}

/// The fields of the object `retouch`.
#[derive(Debug)]
pub(super) struct Extras {
    pub(super) seed: Option<u64>,
    pub(super) steps: Option<u32>,
    pub(super) preserve: Option<Preserve>,
    pub(super) modulation: Option<Modulation>,
    pub(super) mask_policy: MaskPolicy,
    /// Whether the answer holds the mask.
    pub(super) return_mask: bool,
    /// A job whose localization is used.
    pub(super) reuse_localization_of: Option<String>,
}

impl Asked {
    /// Reads the fields of a request.
    ///
    /// # Errors
    /// Names the first field that is wrong or unknown.
    pub(super) fn read(pictures: Pictures, mut fields: Fields) -> Result<Self, Refusal> {
        if pictures.mask.is_some() && pictures.retouch_mask.is_some() {
            return Err(wrong("retouch_mask", "is given beside mask; give one of the two"));
        }
        let Some(prompt) = fields.text("prompt")? else {
            return Err(wrong("prompt", "is missing; say what to change"));
        };
        for name in ["quality", "background", "input_fidelity", "moderation"] {
            fields.one_of(name, &[("auto", ())])?;
        }
        fields.one_of("response_format", &[("b64_json", ())])?;
        let (format, quality) = output(&mut fields)?;
        let asked = Self {
            pictures,
            prompt,
            model: fields.text("model")?.filter(|it| !NO_MODEL.contains(&it.as_str())),
            count: fields.number("n", (1, MAX_IMAGES))?.unwrap_or(1),
            size: size(&mut fields)?,
            format,
            quality,
            stream: fields.flag("stream")?.unwrap_or(false),
            partial_images: fields.number("partial_images", (0, MAX_PARTIALS))?.unwrap_or(0) as u32,
            user: user(&mut fields)?,
            extras: Extras::read(fields.object("retouch", "retouch.")?)?,
        };
        fields.end()?;
        if asked.stream && asked.extras.mask_policy == MaskPolicy::LocalizeOnly {
            let why = "is localize_only, which makes no image that could be streamed";
            return Err(wrong("retouch.mask_policy", why));
        }
        Ok(asked)
    }
}

impl Extras {
    fn read(mut fields: Fields) -> Result<Self, Refusal> {
        let policies = [
            ("auto", MaskPolicy::Unspecified),
            ("provided", MaskPolicy::Provided),
            ("localize_only", MaskPolicy::LocalizeOnly),
        ];
        let preserves =
            [("none", Preserve::None), ("latent", Preserve::Latent), ("pixel", Preserve::Pixel)];
        let modulations = Modulation::ALL.map(|it| (it.name(), it));
        let extras = Self {
            seed: fields.number("seed", (0, u64::MAX))?,
            steps: fields.number("steps", (1, 1000))?.map(|it| it as u32),
            preserve: fields.one_of("preserve", &preserves)?,
            modulation: fields.one_of("modulation", &modulations)?,
            mask_policy: fields.one_of("mask_policy", &policies)?.unwrap_or_default(),
            return_mask: fields.flag("return_mask")?.unwrap_or(false),
            reuse_localization_of: fields.text("reuse_localization_of")?,
        };
        fields.end()?;
        Ok(extras)
    }
}

/// Whom the caller edits for, by the field's newer name or its older one.
fn user(fields: &mut Fields) -> Result<Option<String>, Refusal> {
    let (newer, older) = (fields.text("safety_identifier")?, fields.text("user")?);
    if newer.is_some() && older.is_some() {
        return Err(wrong("user", "is given beside safety_identifier; give one of the two"));
    }
    Ok(newer.or(older))
}

/// Format of the result's file, and the quality of a JPEG.
fn output(fields: &mut Fields) -> Result<(FileFormat, Option<u32>), Refusal> {
    let formats =
        [("png", FileFormat::Png), ("jpeg", FileFormat::Jpeg), ("webp", FileFormat::WebP)];
    let format = fields.one_of("output_format", &formats)?.unwrap_or(FileFormat::Png);
    let compression = fields.number("output_compression", (0, 100))?.map(|it| it as u32);
    match (format, compression) {
        (FileFormat::Jpeg, quality) => Ok((format, quality.map(|it| it.max(1)))),
        (_, None | Some(100)) => Ok((format, None)),
        (_, Some(_)) => {
            let why = "is below 100, but PNG and WebP are written without loss; ask for jpeg";
            Err(wrong("output_compression", why))
        }
    }
}

/// A size such as 1024x1024; `None` for `auto`.
fn size(fields: &mut Fields) -> Result<Option<(u32, u32)>, Refusal> {
    let Some(text) = fields.text("size")?.filter(|it| it != "auto") else { return Ok(None) };
    let side = |it: &str| {
        let side = it.bytes().all(|it| it.is_ascii_digit()).then(|| it.parse().ok())?;
        side.filter(|it| (1..=MAX_SIDE).contains(it))
    };
    let sides =
        text.split_once('x').and_then(|(width, height)| Some((side(width)?, side(height)?)));
    let why = || format!("is `{text}`, expected auto, or width and height such as 1024x1024");
    sides.map(Some).ok_or_else(|| wrong("size", why()))
}
