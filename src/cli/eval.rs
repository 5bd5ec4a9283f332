//! `retouch eval`: runs methods over a data set, scores them, and writes a report.

use std::{ops::ControlFlow, time::Instant};

use serde_json::json;

use crate::cli::{
    error::CliError, eval_args::EvalArgs, interrupt::Interrupt, load, outputs, resolve,
    screen::Screen,
};
use crate::editing::EditError;
use crate::evaluation::{
    dataset::Dataset,
    figure::Figure,
    method::Method,
    report::{self, Report},
    runner::{self, Plan, Progress, Row},
};
use crate::picture::write::{self, Overwrite};
use crate::sampling::{Interrupted, SchedulerKind};
use crate::serving::load::Loaded;

/// Runs the command.
///
/// # Errors
/// [`CliError`] if the command fails; then nothing is written, except after Ctrl-C a report of the edits so far.
pub(crate) fn run(args: &EvalArgs, screen: &mut Screen) -> Result<(), CliError> {
    // 1. Checks that need no model.
    let interrupt = Interrupt::listen()?;
    let mut methods: Vec<&'static Method> = Vec::new();
    for name in &args.methods {
        let method = Method::named(name)?;
        if !methods.contains(&method) {
            methods.push(method);
        }
    }
    let mut dataset = Dataset::open(&args.manifest)?;
    if let Some(limit) = args.limit {
        dataset = dataset.limited(limit as usize);
    }
    outputs::make_folder("--out", &args.out)?;
    let overwrite = if args.force { Overwrite::Replace } else { Overwrite::Refuse };
    for name in report::FILES {
        write::check_target(&args.out.join(name), overwrite).map_err(CliError::Output)?;
    }

    // 2. Load the model, and plan the edits.
    let loaded = load::load(&args.model)?;
    for note in &loaded.notes {
        screen.warning("MODEL", note);
    }
    let plan = plan(args, &loaded, dataset, methods)?;
    let mut facts = facts(&plan, &loaded);
    screen.fact("seed", &json!(plan.seed));
    screen.fact("items", &json!(plan.dataset.items.len()));

    // 3. Run every edit.
    interrupt.stop_cleanly();
    let started = Instant::now();
    let mut progress = |progress: Progress<'_>| -> ControlFlow<_> {
        if let Progress::Edited { done, of, item, row } = progress {
            let value = json!({"edited": {
                "done": done,
                "of": of,
                "id": item.id,
                "method": row.method.name,
                "error": row.scores.as_ref().err(),
                "success": figure(row, Figure::Success).map(|it| it > 0.0),
                "mask_iou": figure(row, Figure::MaskIou),
                "seconds": figure(row, Figure::Seconds),
            }});
            screen.edited(done, of, &format!("{} {}", item.id, row.method.name), &value);
        }
        interrupt.check()
    };
    let evaluation = runner::run(&loaded.editor, plan, &mut progress)?;
    let minutes = started.elapsed().as_secs_f64() / 60.0;
    facts.push(("Wall time".to_owned(), format!("{minutes:.1} min")));
    if evaluation.is_interrupted {
        let items = evaluation.plan.dataset.items.len();
        facts.push(("Stopped".to_owned(), format!("in item {items}, by the user")));
    }

    // 4. Write the report.
    let report = Report::new(&evaluation, facts);
    let paths = report.write(&args.out)?;
    screen.text(&report.summary());
    for path in &paths {
        screen.written("report", path);
    }
    if evaluation.is_interrupted {
        return Err(EditError::Interrupted(Interrupted).into());
    }
    Ok(())
}

fn plan(
    args: &EvalArgs,
    loaded: &Loaded,
    dataset: Dataset,
    methods: Vec<&'static Method>,
) -> Result<Plan, CliError> {
    let settings = args.overrides()?.over(&loaded.info.recommended, args.sampling.preset);
    load::check_settings(loaded, &settings)?;
    let geometry = loaded.editor.pipeline().geometry();
    for item in &dataset.items {
        resolve::check_work_size(item.size, settings.resize, geometry, args.sampling.max_pixels)?;
    }
    Ok(Plan {
        dataset,
        methods,
        settings,
        negative_prompt: args.sampling.negative_prompt.clone(),
        verbatim: args.verbatim,
        seed: args.sampling.seed.unwrap_or_else(|| u64::from(rand::random::<u32>())),
    })
}

fn figure(row: &Row, figure: Figure) -> Option<f64> {
    row.scores.as_ref().ok()?.get(&figure).copied()
}

/// Facts about the run, for the report.
fn facts(plan: &Plan, loaded: &Loaded) -> Vec<(String, String)> {
    let settings = &plan.settings;
    let digest: String = loaded.editor.pipeline().digest().chars().take(12).collect();
    let facts = [
        ("Data set", plan.dataset.path.display().to_string()),
        ("Items", plan.dataset.items.len().to_string()),
        ("Model", format!("{} ({digest})", loaded.info.name)),
        ("Device", format!("{}, {}", loaded.info.device, loaded.info.dtype)),
        ("Told", if plan.verbatim { "as written" } else { "as understood" }.to_owned()),
        ("Steps", settings.steps.to_string()),
        ("Localization steps", settings.localize_steps.to_string()),
        ("Text guidance", settings.guidance.text.get().to_string()),
        ("Image guidance", settings.guidance.image.get().to_string()),
        ("Sampler", settings.scheduler.map_or("the model's", SchedulerKind::name).to_owned()),
        ("Clusters", settings.clusters.get().to_string()),
        ("tau", settings.tau.get().to_string()),
        ("Modulation", settings.modulation.name().to_owned()),
        ("Seed", plan.seed.to_string()),
        ("retouch", env!("CARGO_PKG_VERSION").to_owned()),
    ];
    facts.map(|(label, value)| (label.to_owned(), value)).to_vec()
}
