//! What a LoRA adds to one tensor of a model.

use std::{io, rc::Rc};

use tch::Tensor;

use crate::models::lora::file::LoraFile;

/// Which rows of a change's matrix a tensor gets, where one module of a layout is several, or another, in diffusers'.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::models) enum Rows {
    /// All of them.
    All,
    /// One of three equal parts: query, key or value of a fused projection.
    Third(i64),
    /// All, the second half first: scale and shift, which the original layout has the other way round.
    SwappedHalves,
}

impl Rows {
    /// Into how many parts the rows are divided.
    pub(super) fn parts(self) -> i64 {
        match self {
            Self::All | Self::SwappedHalves => 1,
            Self::Third(_) => 3,
        }
    }

    fn of(self, matrix: &Tensor) -> Tensor {
        let rows = matrix.size()[0];
        match self {
            Self::All => matrix.shallow_clone(),
            Self::Third(part) => matrix.narrow(0, part * (rows / 3), rows / 3),
            Self::SwappedHalves => {
                let halves = matrix.chunk(2, 0);
                Tensor::cat(&[&halves[1], &halves[0]], 0)
            }
        }
    }
}

/// What one LoRA adds to one tensor.
#[derive(Debug, Clone)]
pub(in crate::models) struct Delta {
    pub(super) file: Rc<LoraFile>,
    /// The number of the change in the file.
    pub(super) change: usize,
    pub(super) rows: Rows,
    /// The weight that the caller gave, times alpha over rank.
    pub(super) scale: f64,
}

impl Delta {
    /// Adds it in place to a weight in fp32 on the CPU, (out, in) or (out, in, k, k).
    pub(in crate::models) fn add_to(&self, weight: &mut Tensor) -> io::Result<()> {
        let _no_grad = tch::no_grad_guard();
        let shape = weight.size();
        let cells: i64 = shape[2..].iter().product();
        let delta = self.rows.of(&self.file.delta(self.change, cells)?);
        *weight += delta.reshape(&shape) * self.scale;
        Ok(())
    }
}
