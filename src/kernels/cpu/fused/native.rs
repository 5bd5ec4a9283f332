//! The group norm on tensors: checks, distribution over libtorch's threads.
#![expect(unsafe_code, reason = "calls of functions that need CPU features")]

use tch::{Device, Kind, Tensor};

use super::{
    avx512::{self, Affine, BLOCK, Moments},
    norm::GroupNorm,
};
use crate::kernels::cpu::{openmp::share, tensor_memory, vector};

/// Pixels per task, independent of the number of threads, so that the result is too.
const PIXELS: usize = 128;

/// A group norm over (N, P, C) values in memory, divided into parts of the pixels.
#[derive(Debug)]
struct Layer {
    rows: usize,
    pixels: usize,
    channels: usize,
    groups: usize,
    eps: f64,
    weight: Vec<f32>,
    bias: Vec<f32>,
    /// Added to the pixels of each row first, (N, C).
    shifts: Vec<f32>,
}

/// See [`super::group_norm`].
pub(super) fn group_norm(xs: &Tensor, norm: &GroupNorm<'_>) -> Option<Tensor> {
    if !vector::is_available() {
        return None;
    }
    let [rows, channels, height, width] = <[i64; 4]>::try_from(xs.size()).ok()?;
    let pixels_last = xs.permute([0, 2, 3, 1]);
    let input = tensor_memory::values::<u16>(&pixels_last)?;
    let layer = Layer::new([rows, height * width, channels], norm)?;
    let (blocks, parts) = (layer.channels.div_ceil(BLOCK), layer.pixels.div_ceil(PIXELS));
    let (row_len, part_len) = (layer.pixels * layer.channels, PIXELS * layer.channels);

    // 1. moments of each part
    let mut moments = vec![Moments::default(); layer.rows * parts * blocks];
    let tasks = input.chunks(row_len).flat_map(|row| row.chunks(part_len));
    share(
        tasks.zip(moments.chunks_mut(blocks)),
        || (),
        |(), (pixels, moments)| {
            // SAFETY: `is_available` has found the CPU's features.
            unsafe { avx512::find_moments(pixels, layer.channels, moments) };
        },
    );

    // 2. what the norm comes to for each channel of a row
    let mut affines = vec![Affine::default(); layer.rows * blocks];
    let moments_of_rows = moments.chunks(parts * blocks);
    share(
        moments_of_rows.zip(affines.chunks_mut(blocks)).enumerate(),
        || (),
        |(), (row, (moments, affines))| layer.write_affines(row, moments, affines),
    );

    // 3. the norm
    let size = [rows, height, width, channels];
    let mut normed = Tensor::empty(size, (Kind::BFloat16, Device::Cpu));
    let output = tensor_memory::values_mut::<u16>(&mut normed)?;
    let of_rows = input.chunks(row_len).zip(output.chunks_mut(row_len));
    let tasks = of_rows.zip(affines.chunks(blocks)).flat_map(|((input, output), affines)| {
        let parts = input.chunks(part_len).zip(output.chunks_mut(part_len));
        parts.map(move |(input, output)| (input, output, affines))
    });
    let activation = norm.activation;
    share(
        tasks,
        || (),
        |(), (input, output, affines)| {
            // SAFETY: `is_available` has found the CPU's features.
            unsafe { avx512::normalize(input, output, layer.channels, affines, activation) };
        },
    );
    Some(normed.permute([0, 3, 1, 2]))
}

/// Position of a channel's value: its block, half and lane.
fn place(channel: usize) -> (usize, usize, usize) {
    (channel / BLOCK, channel % 2, channel % BLOCK / 2)
}

/// A bf16 tensor of `length` values in fp32.
fn floats(tensor: &Tensor, length: usize) -> Option<Vec<f32>> {
    let halves = tensor_memory::values::<u16>(tensor).filter(|it| it.len() == length)?;
    Some(halves.iter().map(|&it| f32::from_bits(u32::from(it) << 16)).collect())
}

// === impl Layer ===

impl Layer {
    /// For a tensor of shape `[N, P, C]`; `None` if a parameter is unsuitable.
    fn new(size: [i64; 3], norm: &GroupNorm<'_>) -> Option<Self> {
        let [rows, pixels, channels] = size.map(|it| it as usize);
        let groups = usize::try_from(norm.groups).ok().filter(|it| channels.is_multiple_of(*it))?;
        let mut shifts = vec![0.0; rows * channels];
        for (tensor, length) in [(norm.shift.channels, channels), (norm.shift.rows, shifts.len())] {
            let Some(tensor) = tensor else { continue };
            for (shift, more) in shifts.iter_mut().zip(floats(tensor, length)?.iter().cycle()) {
                *shift += more;
            }
        }
        let (weight, bias) = (floats(norm.weight, channels)?, floats(norm.bias, channels)?);
        Some(Self { rows, pixels, channels, groups, eps: norm.eps, weight, bias, shifts })
    }

    /// Computes scale and offset of a row's channels from the moments of its parts.
    fn write_affines(&self, row: usize, moments: &[Moments], affines: &mut [Affine]) {
        let shifts = &self.shifts[row * self.channels..][..self.channels];
        let width = self.channels / self.groups;
        let (numbers, blocks) = ((width * self.pixels) as f64, affines.len());
        let counts = (0..self.pixels).step_by(PIXELS).map(|it| PIXELS.min(self.pixels - it) as f64);
        let parts = || counts.clone().zip(moments.chunks(blocks));
        for start in (0..self.channels).step_by(width) {
            let group = start..start + width;
            let channels = || group.clone().zip(&shifts[group.clone()]);
            // In fp64 and in the parts' order; squares about the mean, so that no digits cancel.
            let mut sum = 0.0;
            for (count, moments) in parts() {
                for (channel, shift) in channels() {
                    let (block, half, lane) = place(channel);
                    let mean = f64::from(moments[block].means[half][lane]);
                    sum += count * (mean + f64::from(*shift));
                }
            }
            let mean = sum / numbers;
            let mut squares = 0.0;
            for (count, moments) in parts() {
                for (channel, shift) in channels() {
                    let (block, half, lane) = place(channel);
                    let own = f64::from(moments[block].means[half][lane]);
                    let difference = own + f64::from(*shift) - mean;
                    squares += f64::from(moments[block].squares[half][lane]);
                    squares += count * difference * difference;
                }
            }
            let scale = (squares / numbers + self.eps).sqrt().recip();
            for (channel, shift) in channels() {
                let (block, half, lane) = place(channel);
                let factor = f64::from(self.weight[channel]) * scale;
                let summand = (f64::from(*shift) - mean) * factor + f64::from(self.bias[channel]);
                affines[block].factors[half][lane] = factor as f32;
                affines[block].summands[half][lane] = summand as f32;
            }
        }
    }
}
