//! Conversion of the arguments of `retouch edit` to a request.

use bytes::Bytes;
use image::{DynamicImage, ImageFormat};

use crate::cli::{
    args::{self, EditArgs},
    error::CliError,
    maps::PREVIEWS_OF_A_PASS,
};
use crate::client::connect::Remote;
use crate::edit::{choices::MethodKind, edit_mask::MaskChoice};
use crate::picture::{encode::OutputFormat, mask::Mask};
use crate::wire::{
    enums, overrides, pictures,
    v1::{self, EditSpec, MaskPolicy, mask_decision::Decision},
};

/// Where the mask comes from.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum MaskPlan {
    /// From the localization.
    Found,
    /// Given by the caller in the request.
    Given(v1::Mask),
    /// Decided by the caller after the localization.
    Decided(v1::Mask),
}

impl MaskPlan {
    /// The plan of a mask choice; its shapes are painted into one picture.
    ///
    /// # Errors
    /// [`CliError::Client`] if a large picture can't be uploaded.
    pub(crate) async fn of(choice: &MaskChoice, remote: &Remote) -> Result<Self, CliError> {
        let mask = mask(choice, remote).await?;
        Ok(match choice.shapes {
            _ if choice.is_of_found() => Self::Decided(mask),
            Some(_) => Self::Given(mask),
            None => Self::Found,
        })
    }

    /// Whether the mask selects clusters other than the proposed ones, or inverts the proposal.
    pub(crate) fn picks_from_found(&self) -> bool {
        let Self::Decided(mask) = self else { return false };
        mask.clusters.is_some() || (mask.image.is_none() && mask.invert)
    }

    /// Writes the plan into a spec.
    pub(crate) fn put(&self, spec: &mut EditSpec) {
        match self {
            Self::Found => {}
            Self::Given(mask) => spec.mask = Some(mask.clone()),
            Self::Decided(_) => spec.mask_policy = MaskPolicy::Review as i32,
        }
    }

    /// The same for a job that reuses a localization, whose clusters are already known.
    #[must_use]
    pub(crate) fn once_proposed(&self, proposed: &v1::MaskProposed) -> Self {
        match self {
            Self::Decided(mask) => Self::Given(with_clusters(mask, proposed)),
            other => other.clone(),
        }
    }

    /// The decision on a proposed mask, if the caller decides it.
    pub(crate) fn decision(&self, proposed: &v1::MaskProposed) -> Option<v1::MaskDecision> {
        let Self::Decided(mask) = self else { return None };
        let decision = Some(Decision::Replace(with_clusters(mask, proposed)));
        let request_id = uuid::Uuid::now_v7().to_string();
        Some(v1::MaskDecision { decision, etag: proposed.etag.clone(), request_id })
    }
}

/// A mask without shapes or clusters stands for the proposed clusters, inverted or grown.
fn with_clusters(mask: &v1::Mask, proposed: &v1::MaskProposed) -> v1::Mask {
    let mut mask = mask.clone();
    if mask.clusters.is_none() && mask.image.is_none() {
        let selected = proposed.clusters.iter().filter(|it| it.selected);
        let ids = selected.map(|it| it.id).collect();
        mask.clusters = Some(v1::ClusterSelection { ids });
    }
    mask
}

/// A mask choice as the schema's message.
///
/// # Errors
/// [`CliError::Client`] if a large picture can't be uploaded.
pub(crate) async fn mask(choice: &MaskChoice, remote: &Remote) -> Result<v1::Mask, CliError> {
    let image = match &choice.shapes {
        Some(shapes) => Some(remote.image(png(shapes)?).await?),
        None => None,
    };
    let ids: Vec<u32> = choice.clusters.iter().map(|&it| u32::from(it)).collect();
    Ok(v1::Mask {
        image,
        clusters: (!ids.is_empty()).then_some(v1::ClusterSelection { ids }),
        boxes: None,
        dilate_px: choice.dilate.pixels(),
        feather_px: choice.feather.pixels(),
        invert: choice.invert,
    })
}

fn png(mask: &Mask) -> Result<Bytes, CliError> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    DynamicImage::ImageLuma8(mask.as_image().clone())
        .write_to(&mut bytes, ImageFormat::Png)
        .map_err(|error| CliError::Defect(format!("the mask: {error}")))?;
    Ok(bytes.into_inner().into())
}

/// Refuses flags that only a local edit supports.
///
/// # Errors
/// [`CliError::Usage`] names the flag.
pub(crate) fn refuse_local(args: &EditArgs) -> Result<(), CliError> {
    if args.localization_file.is_some() {
        let message = "--localization is for edits on this machine; a server keeps its own, and the variants of -n use it";
        return Err(CliError::Usage(message.to_owned()));
    }
    let model = &args.model;
    let default = args::DEFAULT_MAX_PIXELS;
    let given = [
        ("--device", model.device.as_deref().is_some_and(|it| it != "cpu")),
        ("--dtype", model.dtype != args::Dtype::Auto),
        ("--lora", !model.loras.is_empty()),
        ("--preview-decoder", model.preview_decoder.is_some()),
        ("--threads", model.threads.is_some()),
        ("--keep-text-encoder", model.keep_text_encoder),
        ("--max-pixels", args.sampling.max_pixels != default),
    ];
    match given.into_iter().find(|(_, is_given)| *is_given) {
        Some((flag, _)) => Err(CliError::Usage(format!(
            "{flag} is for edits on this machine; the server has its own"
        ))),
        None => Ok(()),
    }
}

/// The spec of an edit without its mask; unset fields get the server's defaults.
///
/// # Errors
/// [`CliError::OutOfRange`], naming the value.
pub(crate) fn spec(
    args: &EditArgs,
    image: v1::Image,
    format: OutputFormat,
    seed: u64,
) -> Result<EditSpec, CliError> {
    let model = args.model.path.model.as_deref();
    // A server knows a model by the name of its folder or file.
    let model = model.map(|it| it.file_name().unwrap_or(it.as_os_str()).to_string_lossy());
    let mut spec = EditSpec {
        image: Some(image),
        instruction: args.instruction().to_owned(),
        model: model.unwrap_or_default().into_owned(),
        seed: Some(seed),
        events: Some(v1::EventOptions {
            preview_every: Some(u32::from(args.report.maps.is_some())),
            preview_decode: v1::PreviewDecode::Vae as i32,
            vae_previews: Some(PREVIEWS_OF_A_PASS),
            ..v1::EventOptions::default()
        }),
        output: Some(v1::OutputOptions {
            mime_type: pictures::mime_type(format.file_format()).to_owned(),
            quality: args.encoding.quality,
        }),
        method: enums::number(Some(args.method)),
        object: args.localization.object.clone().unwrap_or_default(),
        action: enums::number(args.localization.action),
        verbatim: args.localization.verbatim,
        strict: args.localization.strict,
        negative_prompt: args.sampling.negative_prompt.clone(),
        preset: enums::number(args.sampling.preset),
        metadata: enums::number(Some(args.encoding.metadata)),
        ..EditSpec::default()
    };
    overrides::put(&args.overrides()?, &mut spec);
    Ok(spec)
}

/// The spec with another method for `--compare`: without previews, and with that method's default of `preserve`.
pub(crate) fn compared(spec: &EditSpec, method: MethodKind) -> EditSpec {
    let events = v1::EventOptions { preview_every: Some(0), ..v1::EventOptions::default() };
    EditSpec {
        method: enums::number(Some(method)),
        preserve: 0,
        events: Some(events),
        ..spec.clone()
    }
}
