//! `retouch bench`: `localize` finds how few steps a model's localization needs, `confidence` rates its confidence.

use std::{ops::ControlFlow, path::PathBuf};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::cli::{
    args::{ModelArgs, SamplingArgs},
    bench_confidence::{self, BenchConfidenceArgs},
    error::CliError,
    interrupt::Interrupt,
    load,
    one_of::one_of,
    resolve,
    screen::Screen,
    trimmed::Trimmed,
};
use crate::edit::knobs::StepShare;
use crate::evaluation::{
    EvaluationError,
    dataset::{Dataset, Item, ItemAction},
    localization_steps::{
        self, Case, Setting, SettingMeans, StepsMeasurement, StepsPlan, TOLERANCE,
    },
};
use crate::picture::size::Size;
use crate::sampling::{SchedulerKind, Steps};
use crate::serving::load::Loaded;

#[derive(Debug, Subcommand)]
pub(crate) enum BenchCommand {
    /// Hold masks of fewer steps against the model's own of 100, and name the fewest that lose nothing.
    Localize(BenchLocalizeArgs),
    /// Measure how well the confidence tells objects that are there from objects that are not.
    Confidence(BenchConfidenceArgs),
}

#[derive(Debug, Args)]
pub(crate) struct BenchLocalizeArgs {
    /// A manifest as for `retouch eval`, or with an instruction a picture.
    #[arg(value_name = "MANIFEST|IMAGE")]
    input: PathBuf,
    /// What to do in the picture.
    #[arg(value_name = "INSTRUCTION")]
    instruction: Option<String>,
    /// Numbers of steps to try, by comma.
    #[arg(long, value_name = "N,N", value_delimiter = ',', default_value = "4,6,8,12,20,50", value_parser = Trimmed(clap::value_parser!(u32)))]
    steps: Vec<u32>,
    /// Samplers to try, by comma [default: the model's and dpm-solver++-2m].
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = Trimmed(one_of::<SchedulerKind>()))]
    samplers: Vec<SchedulerKind>,
    /// Average only the steps from one share of them to another, by comma; a run ends with the last of them.
    #[arg(long, value_name = "FROM-TO", value_delimiter = ',', default_value = "0-1", value_parser = Trimmed(averaged))]
    averaged: Vec<StepShare>,
    /// Take so many items, evenly spread over the manifest.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    sampling: SamplingArgs,
    /// Print JSON lines.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Source of the test cases.
enum Cases {
    Manifest(Dataset),
    Picture(Box<Case>),
}

/// Runs the command.
///
/// # Errors
/// [`CliError`] if the command fails.
pub(crate) fn run(command: &BenchCommand, screen: &mut Screen) -> Result<(), CliError> {
    match command {
        BenchCommand::Localize(args) => run_localize(args, screen),
        BenchCommand::Confidence(args) => bench_confidence::run(args, screen),
    }
}

fn run_localize(args: &BenchLocalizeArgs, screen: &mut Screen) -> Result<(), CliError> {
    // 1. Checks that need no model.
    let interrupt = Interrupt::listen()?;
    let trials = trials(args)?;
    let cases = cases(args, screen)?;

    // 2. Load the model, and plan the runs.
    let loaded = load::load(&args.model)?;
    for note in &loaded.notes {
        screen.warning("MODEL", note);
    }
    let plan = plan(args, &loaded, &cases, trials)?;
    screen.fact("seed", &json!(plan.seed));

    // 3. Run every localization.
    let (mut done, of) = (0, cases.count());
    let mut told = |case: Option<&Case>| -> ControlFlow<_> {
        if let Some(case) = case {
            done += 1;
            let value = json!({"localized": {"done": done, "of": of, "id": case.id}});
            screen.edited(done, of, &case.id, &value);
        }
        interrupt.check()
    };
    let outcome = localization_steps::measure(&loaded.editor, &plan, cases.read(), &mut told)?;
    if outcome.cases == 0 {
        return Err(CliError::Usage(
            "no instruction names an object, so there is nothing to localize".to_owned(),
        ));
    }

    // 4. Print the table.
    for line in outcome.trials.iter().chain([&outcome.reference]) {
        screen.record(&json!({ "line": json_line(line) }));
    }
    screen.record(&json!({
        "cases": outcome.cases,
        "passed_over": outcome.passed_over,
        "shortest": outcome.shortest().map(json_line),
    }));
    screen.text(&table(&outcome));
    Ok(())
}

/// Parses an interval of fractions, such as `0.3-0.6`.
fn averaged(text: &str) -> Result<StepShare, String> {
    let shares = text.split_once('-').ok_or("expected two shares, such as 0.3-0.6")?;
    let share = |it: &str| it.parse::<f64>().map_err(|error| format!("`{it}`: {error}"));
    StepShare::new("averaged", [share(shares.0)?, share(shares.1)?])
        .map_err(|error| error.to_string())
}

/// Every combination of sampler, number of steps and averaged interval.
fn trials(args: &BenchLocalizeArgs) -> Result<Vec<Setting>, CliError> {
    let own = [args.sampling.scheduler, Some(SchedulerKind::DpmSolverPlusPlus2M)];
    let samplers: Vec<Option<SchedulerKind>> = match args.samplers.as_slice() {
        [] => own.to_vec(),
        named => named.iter().map(|&it| Some(it)).collect(),
    };
    let mut trials = Vec::new();
    for sampler in samplers {
        for &steps in &args.steps {
            let steps = Steps::try_from(steps)?;
            for &averaged in &args.averaged {
                let setting = Setting { sampler, steps, averaged };
                if !trials.contains(&setting) {
                    trials.push(setting);
                }
            }
        }
    }
    Ok(trials)
}

fn cases(args: &BenchLocalizeArgs, screen: &mut Screen) -> Result<Cases, CliError> {
    let Some(instruction) = &args.instruction else {
        let dataset = Dataset::open(&args.input)?;
        return Ok(Cases::Manifest(match args.limit {
            Some(limit) => dataset.limited(limit as usize),
            None => dataset,
        }));
    };
    resolve::check_instruction(instruction)?;
    let picture = resolve::read_picture(&args.input, screen)?.picture;
    let (id, instruction) = (args.input.display().to_string(), instruction.clone());
    Ok(Cases::Picture(Box::new(Case { id, image: picture.rgb, instruction, object: None })))
}

fn plan(
    args: &BenchLocalizeArgs,
    loaded: &Loaded,
    cases: &Cases,
    trials: Vec<Setting>,
) -> Result<StepsPlan, CliError> {
    let overrides = args.sampling.overrides()?;
    let settings = overrides.over(&loaded.info.recommended, args.sampling.preset);
    let geometry = loaded.editor.pipeline().geometry();
    for size in cases.sizes() {
        resolve::check_work_size(size, settings.resize, geometry, args.sampling.max_pixels)?;
    }
    Ok(StepsPlan {
        settings,
        negative_prompt: args.sampling.negative_prompt.clone(),
        seed: args.sampling.seed.unwrap_or_else(|| u64::from(rand::random::<u32>())),
        trials,
    })
}

impl Cases {
    fn count(&self) -> usize {
        match self {
            Self::Manifest(dataset) => dataset.items.len(),
            Self::Picture(_) => 1,
        }
    }

    fn sizes(&self) -> Vec<Size> {
        match self {
            Self::Manifest(dataset) => dataset.items.iter().map(|it| it.size).collect(),
            Self::Picture(case) => vec![Size::new(case.image.width(), case.image.height())],
        }
    }

    /// The cases, each read when it is needed.
    fn read(&self) -> Box<dyn Iterator<Item = Result<Case, EvaluationError>> + '_> {
        match self {
            Self::Manifest(dataset) => Box::new(dataset.items.iter().map(|item| {
                let path = dataset.path.clone();
                let line = item.line;
                let loaded = item.load();
                let pictures =
                    loaded.map_err(|fault| EvaluationError::Manifest { path, line, fault })?;
                let object =
                    if stands(item) { pictures.object_mask.or(pictures.mask) } else { None };
                let (id, instruction) = (item.id.clone(), item.instruction.clone());
                Ok(Case { id, image: pictures.image, instruction, object })
            })),
            Self::Picture(case) => Box::new(std::iter::once(Ok(Case::clone(case)))),
        }
    }
}

/// Whether the item's object is in the picture before the edit.
fn stands(item: &Item) -> bool {
    !matches!(item.action, Some(ItemAction::Add | ItemAction::Global))
}

fn sampler(line: &SettingMeans) -> &'static str {
    line.setting.sampler.map_or("the model's", SchedulerKind::name)
}

fn json_line(line: &SettingMeans) -> Value {
    json!({
        "sampler": line.setting.sampler.map(SchedulerKind::name),
        "steps": line.setting.steps.get(),
        "averaged": line.setting.averaged.shares(),
        "reference_iou": line.reference_iou,
        "object_iou": line.object_iou,
        "seconds": line.seconds,
    })
}

fn table(outcome: &StepsMeasurement) -> String {
    let mut rows =
        vec![row(["sampler", "steps", "averaged", "IoU, 100", "IoU, object", "seconds"])];
    for line in outcome.trials.iter().chain([&outcome.reference]) {
        rows.push(row([
            sampler(line),
            &line.setting.steps.to_string(),
            &window(line),
            &format!("{:.3}", line.reference_iou),
            &line.object_iou.map_or_else(String::new, |iou| format!("{iou:.3}")),
            &format!("{:.2}", line.seconds),
        ]));
    }
    rows.push("The last line's IoU with 100 steps is that of another seed's 100.".to_owned());
    rows.push(match outcome.shortest() {
        Some(line) => format!(
            "Shortest within {TOLERANCE} of it: {} steps, averaged {}, sampler {}.",
            line.setting.steps,
            window(line),
            sampler(line)
        ),
        None => format!("None of these is within {TOLERANCE} of it."),
    });
    rows.join("\n")
}

fn window(line: &SettingMeans) -> String {
    let [from, until] = line.setting.averaged.shares();
    format!("{from}-{until}")
}

fn row(cells: [&str; 6]) -> String {
    let [sampler, steps, averaged, reference, object, seconds] = cells;
    format!("{sampler:<16} {steps:>5} {averaged:>9} {reference:>9} {object:>12} {seconds:>8}")
}
