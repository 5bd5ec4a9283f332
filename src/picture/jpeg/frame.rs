//! The frame of a JPEG file: its components in blocks of 8×8 samples, and which coefficient bits have been received.

use crate::picture::jpeg::incomplete::Incomplete;

/// Value of `missing` for a coefficient of which no bit was received.
const NEVER: u8 = u8::MAX;

/// A frame: the picture's components.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) progressive: bool,
    pub(super) components: Vec<Component>,
    /// Number of MCUs: (per row, rows).
    pub(super) units: (usize, usize),
}

/// One color component, such as luma.
#[derive(Debug)]
pub(super) struct Component {
    pub(super) id: u8,
    /// Blocks per MCU: (per row, rows).
    pub(super) sampling: (usize, usize),
    /// Blocks that hold part of the picture: (per row, rows).
    pub(super) blocks: (usize, usize),
    /// Blocks per row, including those that only pad the last MCU.
    pub(super) stride: usize,
    /// For each block of a progressive picture, a bit set of coefficients known to be nonzero.
    pub(super) nonzero: Vec<u64>,
    /// For each coefficient, the number of low bits not received yet.
    pub(super) missing: [u8; 64],
}

impl Frame {
    /// Reads the frame header: precision, height, width, and for each component its id, sampling factors and
    /// quantization table.
    pub(super) fn read(body: &[u8], progressive: bool) -> Result<Frame, Incomplete> {
        let (&[_, high, low, wide, narrow, count], rest) =
            body.split_first_chunk().ok_or(Incomplete)?;
        let height = usize::from(u16::from_be_bytes([high, low]));
        let width = usize::from(u16::from_be_bytes([wide, narrow]));
        let (listed, _) = rest.as_chunks::<3>();
        let listed = listed.get(..usize::from(count)).ok_or(Incomplete)?;
        let samplings =
            listed.iter().map(|&[_, it, _]| (usize::from(it >> 4), usize::from(it & 15)));
        let samplings: Vec<(usize, usize)> = samplings.collect();
        let is_sound = |it: usize| (1..=4).contains(&it);
        if width == 0 || height == 0 || !samplings.iter().all(|&(h, v)| is_sound(h) && is_sound(v))
        {
            return Err(Incomplete);
        }
        let most =
            |of: fn(&(usize, usize)) -> usize| samplings.iter().map(of).max().ok_or(Incomplete);
        let (h_most, v_most) = (most(|it| it.0)?, most(|it| it.1)?);
        let units = (width.div_ceil(8 * h_most), height.div_ceil(8 * v_most));
        let component = |(&[id, ..], (h, v)): (&[u8; 3], (usize, usize))| {
            let stride = units.0 * h;
            let held = if progressive { stride * units.1 * v } else { 0 };
            Component {
                id,
                sampling: (h, v),
                blocks: ((width * h).div_ceil(8 * h_most), (height * v).div_ceil(8 * v_most)),
                stride,
                nonzero: vec![0; held],
                missing: [NEVER; 64],
            }
        };
        let components = listed.iter().zip(samplings.iter().copied()).map(component).collect();
        Ok(Frame { progressive, components, units })
    }

    /// Whether every bit of every coefficient was received.
    pub(super) fn is_whole(&self) -> bool {
        self.components.iter().all(|it| it.missing == [0; 64])
    }
}

impl Component {
    /// Records that a scan sends the bits of these coefficients from `low` on; a refinement scan needs those from
    /// `high` on.
    pub(super) fn send(
        &mut self,
        coefficients: std::ops::RangeInclusive<usize>,
        high: u8,
        low: u8,
    ) -> Result<(), Incomplete> {
        for missing in &mut self.missing[coefficients] {
            if high > 0 && *missing != high {
                return Err(Incomplete);
            }
            *missing = low;
        }
        Ok(())
    }
}
