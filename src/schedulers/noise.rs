//! A run's noise, drawn up front as diffusers draws it with a CPU generator of the same seed.

use std::sync::{Mutex, PoisonError};

use tch::{Device, Kind, Tensor};

use crate::schedulers::{Scheduler, Step};

/// Held while libtorch's process-wide generator is seeded and drawn from, since tch has no access to separate
/// generators.
static GENERATOR: Mutex<()> = Mutex::new(());

/// All noise of one run, unit variance, fp32, drawn on the CPU: first `x_T`'s, then one tensor per step if the
/// scheduler uses any.
///
/// Everything is drawn at once, because the generator is shared by the whole process and other runs would advance it in
/// between. That costs 64 KiB a step at 512×512, and 6.6 MB for the paper's 100 steps.
#[derive(Debug)]
pub struct NoiseTape {
    initial: Tensor,
    steps: Vec<Tensor>,
}

impl NoiseTape {
    /// Draws the noise of a run with `scheduler`, each tensor of `shape`, (B, C, h, w).
    ///
    /// Equal bit for bit to `torch.randn(shape, generator=torch.Generator("cpu").manual_seed(seed))`, called once per
    /// tensor, on the same kind of CPU (libtorch's vector and scalar paths differ in the last place).
    /// Safe to call from several threads.
    pub fn draw(seed: u64, shape: &[i64], scheduler: &dyn Scheduler) -> Self {
        let n_steps = if scheduler.draws_noise() { scheduler.steps().len() } else { 0 };
        Self::of_steps(seed, shape, n_steps)
    }

    /// Draws the noise of `x_T` alone, which is the same for every scheduler.
    pub fn draw_initial(seed: u64, shape: &[i64]) -> Tensor {
        Self::of_steps(seed, shape, 0).initial
    }

    fn of_steps(seed: u64, shape: &[i64], n_steps: usize) -> Self {
        let _held = GENERATOR.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let mut draws = randn_from(seed, shape);
            let tape = Self { initial: draws(), steps: (0..n_steps).map(|_| draws()).collect() };
            // The lock keeps tapes apart, not whoever else draws from the generator, such as a model that initializes
            // its weights. So a tape is believed once a second drawing agrees; next to a U-Net's call it costs nothing.
            let mut again = randn_from(seed, shape);
            if tape.all().all(|drawn| *drawn == again()) {
                return tape;
            }
        }
    }

    /// The noise copied to a device, so that no step has to copy its own.
    #[must_use]
    pub fn to_device(&self, device: Device) -> Self {
        if !device.is_cuda() {
            let on_device = |it: &Tensor| it.to_device(device);
            let steps = self.steps.iter().map(on_device).collect();
            return Self { initial: on_device(&self.initial), steps };
        }
        // All at once and from pinned memory, since any other copy waits for all work launched on the GPU before.
        let all: Vec<&Tensor> = self.all().collect();
        let all = Tensor::stack(&all, 0).internal_pin_memory(device);
        let all = all.to_device_(device, Kind::Float, true, false);
        let mut all = all.unbind(0).into_iter();
        let initial = all.next().expect("a tape has the noise of x_T");
        Self { initial, steps: all.collect() }
    }

    /// The noise of `x_T`, not yet multiplied by `init_noise_sigma`.
    pub fn initial(&self) -> &Tensor {
        &self.initial
    }

    /// The noise of a step; `None` if the scheduler uses none.
    pub fn step(&self, step: Step) -> Option<&Tensor> {
        self.steps.get(step.index)
    }

    fn all(&self) -> impl Iterator<Item = &Tensor> {
        std::iter::once(&self.initial).chain(&self.steps)
    }
}

/// Seeds the generator and returns a function that draws one tensor per call.
fn randn_from(seed: u64, shape: &[i64]) -> impl FnMut() -> Tensor {
    // libtorch takes the seed's 64 bits unsigned.
    tch::manual_seed(seed.cast_signed());
    move || Tensor::randn(shape, (Kind::Float, Device::Cpu))
}
