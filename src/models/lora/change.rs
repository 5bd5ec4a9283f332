//! The change of one module: its factors, the matrix that they make, and that matrix's shape.

use std::{collections::BTreeMap, io};

use safetensors::Dtype;
use tch::{Device, Kind, Tensor};

use crate::models::{
    lora::keys::Factor,
    weights::file::{Stored, Values, WeightsFile},
};

/// The change of one module, as stored.
#[derive(Debug, Clone, Default)]
pub(super) struct Change {
    pub(super) factors: BTreeMap<Factor, Stored>,
    /// The stored alpha.
    pub(super) alpha: Option<f64>,
}

/// The shape of a change's matrix, where a convolution's kernel counts to its inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    /// Rows: outputs.
    pub(super) rows: i64,
    /// Columns: inputs, times the kernel's cells.
    pub(super) columns: i64,
    /// The rank; `None` for a Kronecker product of whole matrices.
    pub(super) rank: Option<i64>,
}

impl Change {
    /// Whether it is a Kronecker product.
    pub(super) fn is_lokr(&self) -> bool {
        let low_rank = [Factor::Down, Factor::Up, Factor::Alpha];
        self.factors.keys().any(|it| !low_rank.contains(it))
    }

    /// The matrix's shape; `None` if a factor is missing, or they do not fit each other.
    pub(super) fn shape(&self) -> Option<Shape> {
        if !self.is_lokr() {
            let (down, up) = (self.matrix(Factor::Down)?, self.matrix(Factor::Up)?);
            let fits = down[0] == up[1] && down[0] > 0;
            return fits.then_some(Shape { rows: up[0], columns: down[1], rank: Some(down[0]) });
        }
        let first = self.product(Factor::W1, [Factor::W1A, Factor::W1B])?;
        let second = self.product(Factor::W2, [Factor::W2A, Factor::W2B])?;
        let rank = second.rank.or(first.rank);
        let (rows, columns) = (first.rows * second.rows, first.columns * second.columns);
        Some(Shape { rows, columns, rank })
    }

    /// The shape of a matrix that is stored whole or as two.
    fn product(&self, whole: Factor, [a, b]: [Factor; 2]) -> Option<Shape> {
        if let Some([rows, columns]) = self.matrix(whole) {
            return Some(Shape { rows, columns, rank: None });
        }
        let (a, b) = (self.matrix(a)?, self.matrix(b)?);
        let fits = a[1] == b[0] && a[1] > 0;
        fits.then_some(Shape { rows: a[0], columns: b[1], rank: Some(a[1]) })
    }

    /// A factor's rows, and its other sides' product.
    fn matrix(&self, factor: Factor) -> Option<[i64; 2]> {
        let shape = &self.factors.get(&factor)?.shape;
        (shape.len() >= 2).then(|| [shape[0], shape[1..].iter().product()])
    }

    /// The matrix for a weight whose kernel has so many cells, 1 for a linear layer, (rows, columns) in fp32.
    pub(super) fn delta(&self, file: &WeightsFile, cells: i64) -> io::Result<Tensor> {
        let _no_grad = tch::no_grad_guard();
        if !self.is_lokr() {
            let (down, up) = (self.read(file, Factor::Down)?, self.read(file, Factor::Up)?);
            return Ok(up.flatten(1, -1).matmul(&down.flatten(1, -1)));
        }
        let whole = |whole, [a, b]: [Factor; 2]| {
            if self.factors.contains_key(&whole) {
                return Ok::<_, io::Error>(self.read(file, whole)?.flatten(1, -1));
            }
            Ok(self.read(file, a)?.flatten(1, -1).matmul(&self.read(file, b)?.flatten(1, -1)))
        };
        let first = whole(Factor::W1, [Factor::W1A, Factor::W1B])?; // (a, b)
        let second = whole(Factor::W2, [Factor::W2A, Factor::W2B])?; // (c, d·cells)
        let ([a, b], [c, columns]) = (sides(&first), sides(&second));
        let d = columns / cells;
        let product = first.view([a, 1, b, 1, 1]) * second.view([1, c, 1, d, cells]);
        Ok(product.reshape([a * c, b * d * cells]))
    }

    /// Checks that all its factors are finite numbers.
    pub(super) fn check(&self, file: &WeightsFile) -> io::Result<()> {
        self.factors.values().try_for_each(|it| tensor(file, it).map(drop))
    }

    /// A factor in fp32 on the CPU.
    fn read(&self, file: &WeightsFile, factor: Factor) -> io::Result<Tensor> {
        let stored = &self.factors[&factor];
        tensor(file, stored)
    }
}

/// A stored tensor in fp32 on the CPU; numbers of a LoRA may be integers where they are an alpha.
pub(super) fn tensor(file: &WeightsFile, stored: &Stored) -> io::Result<Tensor> {
    let refuse = |what: &str| io::Error::other(format!("`{}` {what}", stored.key));
    let kind = match (stored.kind(), stored.dtype) {
        (Some(kind), _) => kind,
        (None, Dtype::I64) => Kind::Int64,
        (None, Dtype::I32) => Kind::Int,
        _ => return Err(refuse(&format!("has the dtype {}", stored.dtype))),
    };
    let read = file.read(stored, kind, &stored.shape, (Kind::Float, Device::Cpu))?;
    match read.values {
        Values::Finite => Ok(read.tensor),
        Values::NotFinite | Values::Overflow => Err(refuse("has NaN or infinity")),
    }
}

fn sides(matrix: &Tensor) -> [i64; 2] {
    let (rows, columns) = matrix.size2().expect("a flattened factor is a matrix");
    [rows, columns]
}
