//! `retouch bench confidence`: how well a model's confidence separates objects that are in the picture from absent
//! ones.

use std::{ops::ControlFlow, path::PathBuf};

use clap::Args;
use serde_json::{Value, json};

use crate::cli::{
    args::{ModelArgs, SamplingArgs},
    error::CliError,
    interrupt::Interrupt,
    load, resolve,
    screen::Screen,
};
use crate::edit::{knobs::Confidence, overrides::EditOverrides};
use crate::evaluation::{
    confidence::{self, ConfidenceMeasurement, Judged},
    dataset::{Dataset, Item},
    runner::Plan,
};

#[derive(Debug, Args)]
pub(crate) struct BenchConfidenceArgs {
    /// A manifest as for `retouch eval` whose key `absent` is `no` for objects that are there, else the kind of
    /// absence.
    #[arg(value_name = "MANIFEST")]
    input: PathBuf,
    /// Take so many items, evenly spread over the manifest.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
    /// The confidence at which errors are counted, 0 to 1 [default: the model's, else 0.5].
    #[arg(long, allow_hyphen_values = true, value_name = "VALUE")]
    min_confidence: Option<f64>,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    sampling: SamplingArgs,
    /// Print JSON lines, one an item with the evidence that the confidence is told from.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Runs the command.
///
/// # Errors
/// [`CliError`] if the command fails.
pub(crate) fn run(args: &BenchConfidenceArgs, screen: &mut Screen) -> Result<(), CliError> {
    // 1. Checks that need no model.
    let interrupt = Interrupt::listen()?;
    let dataset = Dataset::open(&args.input)?;
    let dataset = match args.limit {
        Some(limit) => dataset.limited(limit as usize),
        None => dataset,
    };

    // 2. Load the model, and settle the settings.
    let loaded = load::load(&args.model)?;
    for note in &loaded.notes {
        screen.warning("MODEL", note);
    }
    let min_confidence = args.min_confidence.map(Confidence::try_from).transpose()?;
    let overrides = EditOverrides { min_confidence, ..args.sampling.overrides()? };
    let settings = overrides.over(&loaded.info.recommended, args.sampling.preset);
    load::check_settings(&loaded, &settings)?;
    let geometry = loaded.editor.pipeline().geometry();
    for item in &dataset.items {
        resolve::check_work_size(item.size, settings.resize, geometry, args.sampling.max_pixels)?;
    }
    let least = settings.min_confidence.get();
    let seed = args.sampling.seed.unwrap_or_else(|| u64::from(rand::random::<u32>()));
    screen.fact("seed", &json!(seed));
    let of = dataset.items.len();
    let plan = Plan {
        dataset,
        settings,
        negative_prompt: args.sampling.negative_prompt.clone(),
        verbatim: false,
        seed,
        methods: Vec::new(),
    };

    // 3. Run every localization.
    let mut done = 0;
    let mut told = |item: Option<&Item>| -> ControlFlow<_> {
        if let Some(item) = item {
            done += 1;
            let value = json!({"localized": {"done": done, "of": of, "id": item.id}});
            screen.edited(done, of, &item.id, &value);
        }
        interrupt.check()
    };
    let outcome = confidence::measure(&loaded.editor, &plan, &mut told)?;
    let there = outcome.there().len();
    if there == 0 || there == outcome.judged.len() {
        let message = "the manifest needs both present and absent objects (key `absent`)";
        return Err(CliError::Usage(message.to_owned()));
    }

    // 4. Print the table.
    for judged in &outcome.judged {
        screen.record(&json!({ "item": item(judged) }));
    }
    screen.record(&json!({ "confidence": summary(&outcome, least) }));
    screen.text(&table(&outcome, least));
    Ok(())
}

fn item(judged: &Judged) -> Value {
    let evidence = &judged.evidence;
    json!({
        "id": judged.id,
        "absent": judged.absent,
        "confidence": judged.confidence,
        "evidence": {
            "contrast": evidence.contrast,
            "inside": evidence.inside,
            "spread": evidence.spread,
            "peak": evidence.peak,
            "weakest": evidence.weakest,
            "mean": evidence.mean,
            "agreement": evidence.agreement,
            "color": evidence.color,
        },
    })
}

fn summary(outcome: &ConfidenceMeasurement, least: f64) -> Value {
    let kinds: Vec<Value> = outcome
        .separations(least)
        .into_iter()
        .map(|(kind, of)| {
            json!({"kind": kind, "absent": of.absent, "auroc": of.auroc, "passed": of.passed})
        })
        .collect();
    let bins = outcome.reliability().into_iter().map(|it| {
        json!({"from": it.from, "count": it.count, "confidence": it.confidence, "there": it.there})
    });
    let bins: Vec<Value> = bins.collect();
    json!({
        "min_confidence": least,
        "there": outcome.there().len(),
        "warned_for_nothing": outcome.warned_for_nothing(least),
        "absent": kinds,
        "calibration_error": outcome.calibration_error(),
        "reliability": bins,
        "passed_over": outcome.passed_over,
    })
}

fn table(outcome: &ConfidenceMeasurement, least: f64) -> String {
    let share = |share: f64| format!("{:.0} %", share * 100.0);
    let mut rows =
        vec![format!("{:<12} {:>6} {:>6} {:>10}", "absent", "items", "AUROC", "not warned")];
    for (kind, of) in outcome.separations(least) {
        rows.push(format!(
            "{kind:<12} {:>6} {:>6.3} {:>10}",
            of.absent,
            of.auroc,
            share(of.passed)
        ));
    }
    let (there, nothing) = (outcome.there().len(), share(outcome.warned_for_nothing(least)));
    rows.push(format!(
        "Of {there} objects that are there, {nothing} are warned of, at a confidence of {least}."
    ));
    rows.push(String::new());
    rows.push(format!("{:<12} {:>6} {:>10} {:>6}", "confidence", "items", "mean", "there"));
    for bin in outcome.reliability() {
        let from = format!("from {:.1}", bin.from);
        rows.push(format!(
            "{from:<12} {:>6} {:>10.3} {:>6.3}",
            bin.count, bin.confidence, bin.there
        ));
    }
    rows.push(format!("Expected calibration error: {:.3}.", outcome.calibration_error()));
    rows.join("\n")
}
