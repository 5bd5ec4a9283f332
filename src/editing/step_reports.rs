//! Step reports: emitted at once on the CPU, and asynchronously on a GPU while it computes the next steps.

use std::{
    ops::ControlFlow,
    sync::{
        Arc,
        mpsc::{self, Receiver, Sender},
    },
    thread::Scope,
};

use tch::{Device, Tensor};

use crate::edit::event::{EditEvent, EventSink, StepReport};
use crate::pipelines::{preview::StepPreview, read_back::ReadBack};
use crate::sampling::Interrupted;

/// Maximum number of steps launched on a device before the first is reported: one running, one queued.
const AHEAD: usize = 2;

/// Reports the steps of a run to a sink, in order.
#[derive(Debug)]
pub(crate) enum StepReports {
    /// Synchronously, when the step is done.
    Now(Option<StepPreview>),
    /// By a reader thread, which waits for the device in place of the caller.
    Read {
        /// Requests to the thread.
        asked: Sender<Reading>,
        /// Reports from the thread.
        read: Receiver<StepReport>,
        /// Number of outstanding reports.
        waiting: usize,
    },
}

/// A step's report before its preview is computed.
#[derive(Debug)]
pub(crate) struct Asked {
    /// The values known when the step was launched.
    pub(crate) report: StepReport,
    /// What its preview is made of: its clean latents, (1, C, h, w), or what a tiny decoder gave.
    pub(crate) predicted: Tensor,
    /// Whether to make a preview of them, if there is a [`StepPreview`].
    pub(crate) shown: bool,
}

/// A step's report, the copy of its clean latents in progress, and whether to make a preview.
type Reading = (StepReport, ReadBack, bool);

impl StepReports {
    /// The reports of a run on `device`.
    pub(crate) fn of_run<'scope>(
        device: Device,
        preview: Option<StepPreview>,
        scope: &'scope Scope<'scope, '_>,
    ) -> Self {
        match device {
            Device::Cpu => Self::Now(preview),
            _ => Self::reading(preview, scope),
        }
    }

    fn reading<'scope>(preview: Option<StepPreview>, scope: &'scope Scope<'scope, '_>) -> Self {
        let (asked, asks) = mpsc::channel::<Reading>();
        let (reads, read) = mpsc::channel();
        scope.spawn(move || {
            for (report, predicted, shown) in asks {
                // This waits for the step.
                let predicted = predicted.wait();
                // Whoever asked may have been interrupted.
                drop(reads.send(with_preview(report, preview.as_ref(), &predicted, shown)));
            }
        });
        Self::Read { asked, read, waiting: 0 }
    }

    /// Takes a step's report, and emits the reports of finished steps.
    pub(crate) fn step(
        &mut self,
        step: Asked,
        sink: &mut dyn EventSink,
    ) -> ControlFlow<Interrupted> {
        match self {
            Self::Now(preview) => {
                let Asked { report, predicted, shown } = step;
                let report = with_preview(report, preview.as_ref(), &predicted, shown);
                sink.emit(EditEvent::StepDone(report))
            }
            Self::Read { asked, waiting, .. } => {
                let Asked { report, predicted, shown } = step;
                // Sent on its way here, so that no later step is before it.
                let predicted = ReadBack::of(&predicted);
                asked.send((report, predicted, shown)).expect(READER_LIVES);
                *waiting += 1;
                self.tell(AHEAD, sink)
            }
        }
    }

    /// Emits all outstanding reports.
    pub(crate) fn finish(mut self, sink: &mut dyn EventSink) -> ControlFlow<Interrupted> {
        self.tell(0, sink)
    }

    /// Waits until at most `most` reports are outstanding, and emits the finished ones.
    fn tell(&mut self, most: usize, sink: &mut dyn EventSink) -> ControlFlow<Interrupted> {
        let Self::Read { read, waiting, .. } = self else { return ControlFlow::Continue(()) };
        while *waiting > most {
            let report = read.recv().expect(READER_LIVES);
            *waiting -= 1;
            sink.emit(EditEvent::StepDone(report))?;
        }
        ControlFlow::Continue(())
    }
}

/// Holds because the thread ends only when its request channel is closed.
const READER_LIVES: &str = "the thread that reads steps back outlives the run";

fn with_preview(
    report: StepReport,
    preview: Option<&StepPreview>,
    predicted: &Tensor,
    shown: bool,
) -> StepReport {
    match preview {
        Some(preview) if shown => {
            StepReport { preview: Some(Arc::new(preview.render(predicted))), ..report }
        }
        _ => report,
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, thread};

    use tch::Kind;

    use super::*;
    use crate::edit::event::Pass;
    use crate::pipelines::preview::LatentPreview;

    fn asked(step: usize) -> Asked {
        let report = StepReport { pass: Pass::Edit, step, of: 5, timestep: 0.0, preview: None };
        let predicted = Tensor::full([1, 4, 2, 2], step as f64, (Kind::Float, Device::Cpu));
        Asked { report, predicted, shown: step != 2 }
    }

    fn preview() -> StepPreview {
        let picture = image::RgbImage::from_fn(16, 16, |x, y| image::Rgb([x as u8, y as u8, 9]));
        let latents = Tensor::arange(16, (Kind::Float, Device::Cpu)).view([1, 4, 2, 2]);
        StepPreview::Linear(LatentPreview::fit(&picture, &latents))
    }

    /// Each report, and at which step it was told; 6 is after the last.
    fn told(
        reports: impl for<'a> Fn(&'a Scope<'a, '_>) -> StepReports,
    ) -> Vec<(usize, StepReport)> {
        let (mut told, at) = (vec![], Cell::new(0));
        let mut sink = |event: EditEvent| {
            let EditEvent::StepDone(report) = event else { panic!("no step: {event:?}") };
            told.push((at.get(), report));
            ControlFlow::Continue(())
        };
        thread::scope(|scope| {
            let mut reports = reports(scope);
            for step in 1..=5 {
                at.set(step);
                assert!(reports.step(asked(step), &mut sink).is_continue());
            }
            at.set(6);
            assert!(reports.finish(&mut sink).is_continue());
        });
        told
    }

    #[test]
    fn steps_that_are_read_back_are_told_as_those_that_are_not_two_steps_later() {
        let now = told(|scope| StepReports::of_run(Device::Cpu, Some(preview()), scope));
        let read = told(|scope| StepReports::reading(Some(preview()), scope));
        assert_eq!(now.iter().map(|it| it.0).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
        assert_eq!(read.iter().map(|it| it.0).collect::<Vec<_>>(), [3, 4, 5, 6, 6]);
        for ((_, now), (_, read)) in now.iter().zip(&read) {
            assert_eq!(now.step, read.step);
            assert_eq!(now.preview.is_some(), now.step != 2);
            assert_eq!(now.preview, read.preview);
        }
    }

    #[test]
    fn an_interruption_ends_the_thread() {
        thread::scope(|scope| {
            let mut reports = StepReports::reading(None, scope);
            let mut sink = |_: EditEvent| ControlFlow::Break(Interrupted);
            assert!(reports.step(asked(1), &mut sink).is_continue());
            assert!(reports.step(asked(2), &mut sink).is_continue());
            assert!(reports.step(asked(3), &mut sink).is_break());
        });
    }
}
