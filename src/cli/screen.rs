//! Terminal output of commands: progress bars on a terminal, plain lines elsewhere, JSON lines with `--json`.

use std::{
    io::{self, IsTerminal, Write},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};
use rustix::termios::tcgetwinsize;
use serde_json::{Value, json};

use crate::cli::{error::CliError, event_lines, printable::printable, shown::Shown};
use crate::edit::event::{Pass, StepReport};
use crate::wire::event_json;

/// Redraw interval of a bar without progress.
const CLOCK: Duration = Duration::from_millis(500);

/// Output stream of results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    /// Standard output.
    Out,
    /// Standard error, if a picture goes to standard output.
    Err,
}

/// Output of a command.
#[derive(Debug)]
pub(crate) struct Screen {
    style: Style,
    results: Stream,
    bar: Option<(Task, ProgressBar)>,
    /// The queue position last shown.
    place: u32,
    pass_started: Instant,
}

/// What a bar shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Task {
    /// A position in the queue, as a line that is removed when the wait ends.
    Wait,
    Pass(Pass),
    Edits,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    Bars,
    Lines,
    Json,
}

impl Screen {
    /// A screen; `results` is the stream of paths and JSON. Notes and progress always go to standard error.
    pub(crate) fn new(json: bool, results: Stream) -> Self {
        // A dumb terminal can't redraw a line.
        let has_bars =
            io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|it| it != "dumb");
        let style = match (json, has_bars) {
            (true, _) => Style::Json,
            (false, true) => Style::Bars,
            (false, false) => Style::Lines,
        };
        Self { style, results, bar: None, place: 0, pass_started: Instant::now() }
    }

    /// Columns of the terminal that results go to; `None` without one.
    pub(crate) fn columns(&self) -> Option<usize> {
        let size = match self.results {
            Stream::Out => tcgetwinsize(io::stdout()),
            Stream::Err => tcgetwinsize(io::stderr()),
        };
        size.ok().map(|it| usize::from(it.ws_col)).filter(|it| *it > 0)
    }

    /// Shows an event of the edit.
    pub(crate) fn event(&mut self, event: &Shown) {
        if self.style == Style::Json {
            if let Some(line) = json_line(event) {
                self.json(&line);
            }
            return;
        }
        if !matches!(event, Shown::Queue(..)) {
            self.end_wait();
        }
        match event {
            Shown::Step(report) => self.step(report),
            Shown::Preview(..) => {}
            Shown::Warning { message, .. } => self.line(&format!("warning: {message}")),
            Shown::Part(part, _) => {
                self.line(&format!("edit {} of {}: {}", part.number, part.of, part.instruction));
            }
            Shown::Parsed(parsed) => self.lines(&event_lines::parsed(parsed)),
            Shown::Localized(localization) => self.lines(&event_lines::localized(localization)),
            Shown::Mask(mask) => {
                self.line(&format!("mask: {:.1} % of the picture", mask.area * 100.0));
            }
            Shown::Drift(drift) => self.lines(&event_lines::drift(*drift)),
            Shown::Queue(position, length) => self.wait(*position, *length),
            Shown::State(state, detail) => {
                let state = state.trim_start_matches("STATE_").to_lowercase().replace('_', " ");
                let colon = if detail.is_empty() { "" } else { ": " };
                self.line(&format!("state: {state}{colon}{detail}"));
            }
        }
    }

    /// Shows a warning that is not an event of the edit.
    pub(crate) fn warning(&mut self, reason: &str, message: &str) {
        match self.style {
            Style::Json => self.json(&event_json::warning_line(reason, message)),
            Style::Bars | Style::Lines => self.line(&format!("warning: {message}")),
        }
    }

    /// Shows a fact, such as the seed: a line of text, or a key in JSON.
    pub(crate) fn fact(&mut self, key: &str, value: &Value) {
        match self.style {
            Style::Json => self.json(&json!({ key: value })),
            Style::Bars | Style::Lines => match value {
                Value::String(text) => self.line(&format!("{key}: {text}")),
                other => self.line(&format!("{key}: {other}")),
            },
        }
    }

    /// Begins the progress of several edits.
    pub(crate) fn edits(&mut self, of: usize) {
        if self.style == Style::Bars {
            self.progress(Task::Edits, 0, of, "");
        }
    }

    /// Shows that one of several edits is done; `value` is its JSON output.
    pub(crate) fn edited(&mut self, done: usize, of: usize, what: &str, value: &Value) {
        match self.style {
            Style::Json => self.json(value),
            // At most twenty lines in a log.
            Style::Lines if done * 20 / of == (done - 1) * 20 / of => {}
            Style::Lines => self.line(&format!("{done} of {of}: {what}")),
            Style::Bars => self.progress(Task::Edits, done, of, what),
        }
    }

    /// Prints a result as JSON, only with `--json`.
    pub(crate) fn record(&mut self, value: &Value) {
        if self.style == Style::Json {
            self.json(value);
        }
    }

    /// Prints a result as text, only without `--json`.
    pub(crate) fn text(&mut self, text: &str) {
        if self.style != Style::Json {
            for line in text.trim_end().split('\n') {
                self.result(line);
            }
        }
    }

    /// Reports a written file, the command's result.
    pub(crate) fn written(&mut self, what: &str, path: &std::path::Path) {
        self.end_bar();
        match self.style {
            Style::Json => {
                self.json(&json!({"written": {"what": what, "path": path.display().to_string()}}));
            }
            Style::Bars | Style::Lines => self.result(&format!("{what}: {}", path.display())),
        }
    }

    /// Prints the command's error in one line on standard error.
    pub(crate) fn failed(&mut self, error: &CliError) {
        self.end_bar();
        let message = error.line();
        match self.style {
            Style::Json => {
                let value = json!({"reason": error.reason(), "message": message});
                let line = json!({ "error": value }).to_string();
                self.aside(|| writeln!(io::stderr().lock(), "{line}"));
            }
            Style::Bars | Style::Lines => self.line(&format!("error: {message}")),
        }
    }

    fn step(&mut self, report: &StepReport) {
        if report.step == 1 {
            self.pass_started = Instant::now();
        }
        let name = match report.pass {
            Pass::Localize => "localize",
            Pass::Edit => "edit",
        };
        if self.style == Style::Lines {
            // At most ten lines per pass in a log.
            if report.step * 10 / report.of != (report.step - 1) * 10 / report.of {
                let seconds = self.pass_started.elapsed().as_secs_f64();
                self.line(&format!(
                    "{name}: step {} of {}, {seconds:.1} s",
                    report.step, report.of
                ));
            }
            return;
        }
        self.progress(Task::Pass(report.pass), report.step, report.of, name);
    }

    /// Shows a queue position; without a terminal only if it has changed.
    fn wait(&mut self, position: u32, length: u32) {
        let text = format!("waiting: {position} of {length} in the server's queue");
        match self.style {
            Style::Bars => self.progress(Task::Wait, 0, 1, &text),
            Style::Lines | Style::Json if self.place == position => {}
            Style::Lines | Style::Json => self.line(&text),
        }
        self.place = position;
    }

    /// Shows the progress of a task, replacing any other bar; the bar ends when the task is done.
    fn progress(&mut self, task: Task, done: usize, of: usize, message: &str) {
        if self.bar.as_ref().is_none_or(|(shown, _)| *shown != task) {
            self.end_bar();
            let bar = ProgressBar::new(of as u64);
            if task == Task::Edits {
                // An edit may take minutes; the elapsed time keeps moving.
                bar.enable_steady_tick(CLOCK);
            }
            self.bar = Some((task, bar));
        }
        let Some((_, bar)) = &self.bar else { return };
        bar.set_message(printable(message).into_owned());
        bar.set_position(done as u64);
        // Without any progress the remaining time is unknown.
        bar.set_style(if done == 0 { task.at_rest() } else { task.under_way() });
        bar.tick();
        if done == of {
            self.end_bar();
        }
    }

    fn end_wait(&mut self) {
        self.place = 0;
        if self.bar.as_ref().is_some_and(|(task, _)| *task == Task::Wait) {
            self.end_bar();
        }
    }

    /// Leaves the bar as it is, and continues on the next line.
    fn end_bar(&mut self) {
        match self.bar.take() {
            Some((Task::Wait, bar)) => bar.finish_and_clear(),
            Some((task, bar)) => {
                bar.set_style(task.at_rest());
                bar.abandon();
                let _ = writeln!(io::stderr());
            }
            None => {}
        }
    }

    fn json(&mut self, value: &Value) {
        self.result_line(&value.to_string());
    }

    /// Prints a line of text among the results.
    fn result(&mut self, line: &str) {
        self.result_line(&printable(line));
    }

    /// Prints a line among the results. A closed pipe is not an error, since the files matter more.
    fn result_line(&mut self, line: &str) {
        let results = self.results;
        self.aside(|| match results {
            Stream::Out => writeln!(io::stdout().lock(), "{line}"),
            Stream::Err => writeln!(io::stderr().lock(), "{line}"),
        });
    }

    fn lines(&mut self, lines: &[String]) {
        for line in lines {
            self.line(line);
        }
    }

    /// Prints a line of text on standard error.
    fn line(&mut self, line: &str) {
        let line = printable(line);
        self.aside(|| writeln!(io::stderr().lock(), "{line}"));
    }

    /// Writes above the bar, if there is one.
    fn aside(&self, write: impl FnOnce() -> io::Result<()>) {
        let _ = match &self.bar {
            Some((_, bar)) => bar.suspend(write),
            None => write(),
        };
    }
}

// === impl Task ===

impl Task {
    fn at_rest(self) -> ProgressStyle {
        style(match self {
            Self::Wait => "{wide_msg}",
            Self::Pass(_) => "{msg:>8} {wide_bar} {pos}/{len}  {elapsed}",
            Self::Edits => "{pos}/{len} {wide_bar} {elapsed}",
        })
    }

    fn under_way(self) -> ProgressStyle {
        style(match self {
            Self::Wait => "{wide_msg}",
            Self::Pass(_) => "{msg:>8} {wide_bar} {pos}/{len}  {elapsed}, {eta} left",
            Self::Edits => "{pos}/{len} {wide_bar} {elapsed}, {eta} left  {msg:24!}",
        })
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the template is well-formed")
}

/// The event as JSON; `None` for previews, which are only written as files.
fn json_line(event: &Shown) -> Option<Value> {
    Some(match event {
        Shown::Part(part, _) => event_json::part(part),
        Shown::Parsed(parsed) => event_json::instruction(parsed),
        Shown::Warning { reason, message } => event_json::warning_line(reason, message),
        Shown::Preview(..) => return None,
        Shown::Step(report) => event_json::step(report),
        Shown::Localized(localization) => event_json::localized(localization),
        Shown::Mask(mask) => event_json::mask_settled(mask.area, mask.source),
        Shown::Drift(drift) => event_json::drift(*drift),
        Shown::Queue(position, length) => event_json::queue(*position, *length),
        Shown::State(state, detail) => event_json::state(state, detail),
    })
}
