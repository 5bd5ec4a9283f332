//! The mask of an edit: the caller's choices, combined with the localization.

use tch::{Device, Kind, Tensor};

use crate::edit::{
    choices::Preserve,
    edit_mask::{EditMask, MaskSource},
    localization::Localization,
    things::REFINE_CELLS,
};
use crate::editing::{EditError, session::EditSession};
use crate::instruction::Instruction;
use crate::picture::{
    frame::Frame,
    grid, guided_filter,
    mask::{Mask, Radius},
    size::Size,
};

impl EditMask {
    /// The final mask: the caller's shapes and clusters, else the proposed clusters, then inverted and grown.
    ///
    /// `None` if nothing says where to edit, which means the whole picture.
    ///
    /// # Errors
    /// [`EditError::EmptyMask`], [`EditError::UnknownCluster`], [`EditError::OtherGrid`].
    pub fn settle(
        session: &EditSession<'_>,
        localization: Option<&Localization>,
    ) -> Result<Option<Self>, EditError> {
        let choice = &session.request.mask;
        let input = session.input_size();
        let finds = session.request.method.finds_mask();
        if localization.is_none() && finds && choice.picks_from_found() {
            return Err(EditError::NothingFound);
        }

        // 1. Clusters, exact at both sizes.
        let clusters = match localization {
            Some(localization) => {
                check_grid(localization, session)?;
                let ids = if choice.is_left_open() {
                    localization.selected()
                } else {
                    choice.clusters.clone()
                };
                check_ids(&ids, localization)?;
                (!ids.is_empty()).then(|| found(session, localization, &ids))
            }
            None => None,
        };

        // 2. Shapes; a cell that a shape touches is edited.
        let shapes = choice.shapes.clone().map(|full| {
            let gate = session.mask_at_work(&full);
            (full, gate)
        });
        let (mut full, mut gate) = match (clusters, shapes) {
            (Some((full, gate)), Some((more, gated))) => (full.union(&more), gate.union(&gated)),
            (Some(mask), None) | (None, Some(mask)) => mask,
            (None, None) => return Ok(None),
        };

        // 3. Inverted, then grown: as the caller says, and what was found, chosen or not, as the settings say.
        let spares = choice.is_left_open()
            && session.understood.read.as_ref().is_ok_and(Instruction::spares_objects);
        if choice.invert != spares {
            (full, gate) = (full.inverted(), gate.inverted());
        }
        let found = full.clone();
        let grow = Radius::of_share(session.request.settings.grow.get(), input);
        let given = choice.shapes.is_some();
        let mut growth = vec![choice.dilate];
        // What is spared stays whole.
        if !given && !spares {
            growth.push(grow);
        }
        for radius in growth.into_iter().filter(|&it| it != Radius::default()) {
            full = full.dilated(radius);
            gate = gate.union(&session.mask_at_work(&full));
        }
        if full.is_empty() || gate.is_empty() {
            return Err(EditError::EmptyMask);
        }

        // 4. Attention that ends at a given mask's border leaves the words no context; pixels outside are restored
        //    anyway.
        let room = given && session.request.settings.preserve != Preserve::None;
        let attended = if room && grow != Radius::default() {
            gate.clone().union(&session.mask_at_work(&full.clone().dilated(grow)))
        } else {
            gate.clone()
        };
        let source = if choice.is_left_open() { MaskSource::Proposed } else { MaskSource::Chosen };
        // 5. What a found mask was grown by is no part of the object, and an edit fades in its outer half.
        let fades = if given || spares { Radius::default() } else { grow.halved() };
        let feather = choice.feather.max(fades);
        Ok(Some(Self { full, gate, attended, found, feather, source }))
    }

    /// A mask of the whole picture.
    pub fn whole(session: &EditSession<'_>) -> Self {
        let all = |size| Mask::from_fn(size, |_, _| true);
        Self::new(all(session.input_size()), all(session.work_size()), MaskSource::Whole)
    }

    /// The mask at the working size, (1, 1, H, W) in fp32, 1 = edit.
    pub fn gate_tensor(&self, device: Device) -> Tensor {
        tensor(&self.gate, device)
    }

    /// Where attention to the instruction is allowed, in the form of [`Self::gate_tensor`]: the mask, and for a mask
    /// that the caller gave also the border by which a found one would have been grown.
    ///
    /// Differs: IAM-Edit's attention ends at the mask, which it finds itself. The border does not show in the result,
    /// since pixels outside the mask are restored; with [`Preserve::None`] attention does end at the mask.
    pub fn attended_tensor(&self, device: Device) -> Tensor {
        tensor(&self.attended, device)
    }
}

/// A mask as a tensor (1, 1, H, W) in fp32, 1 = edit.
fn tensor(mask: &Mask, device: Device) -> Tensor {
    let size = mask.size();
    let pixels = Tensor::from_slice(mask.as_image().as_raw()).gt(0).to_kind(Kind::Float);
    pixels.view([1, 1, i64::from(size.height), i64::from(size.width)]).to_device(device)
}

/// The clusters' masks at the input's and the working size, refined to the picture's edges if the settings ask for it
/// and the object is in the picture.
fn found(session: &EditSession<'_>, localization: &Localization, ids: &[u8]) -> (Mask, Mask) {
    let input = session.input_size();
    let frame = localization.covers.map_or(session.seen(), Frame::first);
    let covered = frame.size;
    let full = frame.put_mask(&of_clusters(localization, ids, covered), input);
    if !session.request.settings.refine || !localization.stands {
        let gate = if covered == session.covered() {
            of_clusters(localization, ids, session.work_size())
        } else {
            session.mask_at_work(&full)
        };
        return (full, gate);
    }
    let cells = localization.resolution;
    let cell = (f64::from(covered.width) / cells.width as f64)
        .min(f64::from(covered.height) / cells.height as f64);
    let radius = (REFINE_CELLS * cell).round() as u32;
    let full = guided_filter::refined(&full, &session.request.image, radius);
    let gate = session.mask_at_work(&full);
    (full, gate)
}

/// The clusters' cells as a mask of any size; each cell is a block of pixels.
fn of_clusters(localization: &Localization, ids: &[u8], size: Size) -> Mask {
    let cells: Vec<bool> = localization.labels.iter().map(|label| ids.contains(label)).collect();
    let grid = Size::new(localization.grid.width as u32, localization.grid.height as u32);
    let pixels = grid::upsample_nearest(&cells, grid, size);
    Mask::from_fn(size, |x, y| pixels[(y * size.width + x) as usize])
}

fn check_ids(ids: &[u8], localization: &Localization) -> Result<(), EditError> {
    let count = localization.clusters.len();
    match ids.iter().find(|&&id| id == 0 || usize::from(id) > count) {
        Some(&id) => Err(EditError::UnknownCluster { id, count }),
        None => Ok(()),
    }
}

/// Refuses a localization whose grid does not match this picture's aspect ratio or padding.
fn check_grid(localization: &Localization, session: &EditSession<'_>) -> Result<(), EditError> {
    let (grid, work, input) = (localization.grid, session.work_size(), session.input_size());
    let covered = localization.covers.unwrap_or(input);
    let grows = |side: u32, covered: u32| (side..=side.saturating_mul(2)).contains(&covered);
    let fits = grows(input.width, covered.width) && grows(input.height, covered.height);
    let ratio =
        (grid.width as f64 / grid.height as f64) / (f64::from(work.width) / f64::from(work.height));
    let slack = 1.0 + 1.5 / grid.width.min(grid.height) as f64;
    if fits && (1.0 / slack..=slack).contains(&ratio) {
        return Ok(());
    }
    Err(EditError::OtherGrid { height: grid.height, width: grid.width })
}
