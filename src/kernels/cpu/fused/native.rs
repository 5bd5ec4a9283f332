//! The group norm on tensors: checks, distribution over libtorch's threads.
#![expect(unsafe_code, reason = "tensors' memory is read and written by several threads")]

use std::slice;

use tch::{Device, Kind, Tensor};

use super::{
    avx512::{self, Affine, BLOCK, Moments},
    norm::GroupNorm,
};
use crate::kernels::cpu::{
    openmp::{Shared, share},
    vector,
};

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
    let [rows, channels, height, width] = <[i64; 4]>::try_from(xs.size()).ok()?;
    let input = numbers(&xs.permute([0, 2, 3, 1]))?;
    let layer = Layer::new([rows, height * width, channels], norm)?;
    let (blocks, parts) = (layer.channels.div_ceil(BLOCK), layer.parts());

    // 1. moments of each part
    let mut moments = vec![Moments::default(); layer.rows * parts * blocks];
    let to = Shared::new(moments.as_mut_ptr());
    share(
        layer.rows * parts,
        || (),
        |(), task| {
            let (start, count) = layer.part(task);
            // SAFETY: each task's moments are its own; the processor has the features, and the pixels are there.
            unsafe {
                let moments = slice::from_raw_parts_mut(to.at(task * blocks), blocks);
                avx512::find_moments(input.at(start), count, layer.channels, moments);
            }
        },
    );

    // 2. what the norm comes to for each channel of a row
    let mut affines = vec![Affine::default(); layer.rows * blocks];
    let to = Shared::new(affines.as_mut_ptr());
    share(
        layer.rows,
        || (),
        |(), row| {
            // SAFETY: each row's are its own.
            let affines = unsafe { slice::from_raw_parts_mut(to.at(row * blocks), blocks) };
            layer.write_affines(row, &moments[row * parts * blocks..][..parts * blocks], affines);
        },
    );

    // 3. the norm
    let size = [rows, height, width, channels];
    let normed = Tensor::empty(size, (Kind::BFloat16, Device::Cpu));
    let output = numbers(&normed)?;
    let activation = norm.activation;
    share(
        layer.rows * parts,
        || (),
        |(), task| {
            let (start, count) = layer.part(task);
            let affines = &affines[task / parts * blocks..][..blocks];
            // SAFETY: the processor has the features, and no other task has these pixels of the output.
            unsafe {
                let both = [input.at(start), output.at(start)];
                avx512::normalize(both, count, layer.channels, affines, activation);
            }
        },
    );
    Some(normed.permute([0, 3, 1, 2]))
}

/// Position of a channel's value: its block, half and lane.
fn place(channel: usize) -> (usize, usize, usize) {
    (channel / BLOCK, channel % 2, channel % BLOCK / 2)
}

/// The data of a bf16 CPU tensor that is contiguous and not empty.
fn numbers(tensor: &Tensor) -> Option<Shared<u16>> {
    let taken = vector::is_available()
        && tensor.device() == Device::Cpu
        && tensor.kind() == Kind::BFloat16
        && tensor.is_contiguous()
        && tensor.numel() > 0;
    taken.then(|| Shared::new(tensor.data_ptr().cast()))
}

/// A bf16 tensor of `length` values in fp32.
fn floats(tensor: &Tensor, length: usize) -> Option<Vec<f32>> {
    let start = numbers(tensor).filter(|_| tensor.numel() == length)?;
    // SAFETY: the numbers of a live tensor.
    let halves = unsafe { slice::from_raw_parts(start.at(0), length) };
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

    /// Number of parts of a row.
    fn parts(&self) -> usize {
        self.pixels.div_ceil(PIXELS)
    }

    /// Offset of a part's first value, and its number of pixels.
    fn part(&self, task: usize) -> (usize, usize) {
        let (row, first) = (task / self.parts(), task % self.parts() * PIXELS);
        ((row * self.pixels + first) * self.channels, PIXELS.min(self.pixels - first))
    }

    /// Computes scale and offset of a row's channels from the moments of its parts.
    fn write_affines(&self, row: usize, moments: &[Moments], affines: &mut [Affine]) {
        let shifts = &self.shifts[row * self.channels..][..self.channels];
        let width = self.channels / self.groups;
        let (numbers, blocks) = ((width * self.pixels) as f64, affines.len());
        let parts = || moments.chunks_exact(blocks).enumerate();
        for start in (0..self.channels).step_by(width) {
            let group = start..start + width;
            let channels = || group.clone().zip(&shifts[group.clone()]);
            // In fp64 and in the parts' order; squares about the mean, so that no digits cancel.
            let mut sum = 0.0;
            for (part, moments) in parts() {
                let count = self.part(part).1 as f64;
                for (channel, shift) in channels() {
                    let (block, half, lane) = place(channel);
                    let mean = f64::from(moments[block].means[half][lane]);
                    sum += count * (mean + f64::from(*shift));
                }
            }
            let mean = sum / numbers;
            let mut squares = 0.0;
            for (part, moments) in parts() {
                let count = self.part(part).1 as f64;
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
