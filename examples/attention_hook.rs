//! Watches where the model looks for one word while it edits: a guest of one's own in the attention layers.
//!
//! ```text
//! cargo run --release --example attention_hook -- assets/example.png "change the black tree to blue" tree
//! ```
//!
//! The run is plain InstructPix2Pix over the demo model (`RETOUCH_MODEL` names another). It prints where the word's
//! attention peaks at each step, and writes `attention.png`, its sum over the run, and `edited.png`.
#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use std::{
    env,
    error::Error,
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use retouch::{
    attention::{
        processor::AttnProcessor,
        qkv::{Attended, Qkv},
        role::Role,
        site::{AttnSite, Stage},
    },
    drawing::heat::{ScalarField, heat_overlay},
    edit::settings::EditSettings,
    editing::iam_edit::attn_store::WatchedLevels,
    models::snapshot::Snapshot,
    picture::{
        decode::{self, InputLimits},
        resample::{self, Filter},
    },
    pipelines::{
        TokenizedPrompt,
        denoise::{DenoisePlan, denoise},
        load,
    },
    schedulers::noise::NoiseTape,
};
use tch::{Device, Kind, Tensor};

const USAGE: &str = "usage: attention_hook IMAGE INSTRUCTION WORD";
const DEMO_MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/demo-model");
/// Of the noise.
const SEED: u64 = 7;

/// What was seen so far.
#[derive(Default)]
struct Seen {
    /// Height and width of the map, in cells.
    grid: (i64, i64),
    /// Attention to the word, summed over the layers of the step that runs, (cells,).
    step: Option<Tensor>,
    /// The sum over all steps, (cells,).
    all: Option<Tensor>,
}

/// The guest. It travels with each call to whoever runs the model, so what it sees is kept behind a lock.
struct WordWatcher {
    /// Indices of the word's tokens in the prompt.
    tokens: Tensor,
    /// How often the latent was halved before the layers that are watched.
    level: Option<usize>,
    seen: Arc<Mutex<Seen>>,
}

impl AttnProcessor for WordWatcher {
    // A layer is one fused call whether it is watched or not; what a guest wants to know is computed beside it.
    fn watches(&self, site: &AttnSite) -> bool {
        site.keys.has_text() && site.stage != Stage::Mid && site.level == self.level
    }

    fn visit(&mut self, site: &AttnSite, qkv: &Qkv, attended: &Attended) {
        // 1. Probabilities of the row that reads the instruction, mean over the heads: (cells, tokens) in fp32.
        let (cells, tokens) = (site.cells(), site.keys.text(qkv.key.size()[2]));
        let shape = [cells.length, tokens.length];
        let mut probs = Tensor::zeros(shape, (Kind::Float, qkv.query.device()));
        qkv.add_mean_probs(attended, qkv.row_of(Role::Text), [cells, tokens], &mut probs);

        // 2. The mean over the word's tokens, (Q,), on the CPU.
        let word = probs.index_select(1, &self.tokens.to_device(probs.device()));
        let word = word.mean_dim([1i64].as_slice(), false, Kind::Float).to_device(Device::Cpu);

        // 3. Added to what this step's other layers saw. To change the attention, `attended.output` would be written
        //    to.
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.grid = (site.height, site.width);
        seen.step = Some(match seen.step.take() {
            Some(sum) => sum + word,
            None => word,
        });
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = env::args().skip(1).collect();
    let [image, instruction, word] = args.as_slice() else { return Err(USAGE.into()) };

    // 1. A model, its settings, and the picture at a size that it works at.
    let model = env::var_os("RETOUCH_MODEL").map_or_else(|| DEMO_MODEL.into(), PathBuf::from);
    let snapshot = Snapshot::open(&model)?;
    let settings = EditSettings::recommended(snapshot.retouch_json().unwrap_or("{}"))?;
    let pipeline = load::load(&snapshot, Kind::Float, Device::Cpu)?;
    let geometry = pipeline.geometry();
    let input = decode::read(Path::new(image), InputLimits::default())?.picture;
    let size = input.size().fit(geometry.sample_size, geometry.stride);
    let work = resample::resize_rgb(&input.rgb, size, Filter::Lanczos);

    // 2. What the model is conditioned on: the instruction, the empty prompt, the picture.
    let tokens = pipeline.tokenize(instruction)?;
    let latents = pipeline.encode_image(&work)?;
    let roles = pipeline.guidance().roles(settings.guidance);
    let conditioning = pipeline.condition(instruction, "", &work, roles)?;

    // 3. The guest, at the level that the model recommends.
    let sites = pipeline.sites(conditioning.latent_size());
    let wanted = &settings.localization;
    let levels = WatchedLevels::nearest(&sites, wanted.isam_level, wanted.icam_level);
    let level = levels.ok_or("the model has no attention to watch")?.icam;
    let seen = Arc::new(Mutex::new(Seen::default()));
    let tokens = tokens_of(&tokens, instruction, word)?;
    let watcher = WordWatcher { tokens, level, seen: Arc::clone(&seen) };

    // 4. The run. A step's map is read between two steps.
    let size = conditioning.latent_size();
    let scheduler = pipeline.scheduler(settings.scheduler, settings.steps, size)?;
    let tape = NoiseTape::draw(SEED, &latents.size(), scheduler.as_ref());
    let (model, scheduler) = (pipeline.as_ref(), scheduler.as_ref());
    let plan = DenoisePlan::whole(model, scheduler, &conditioning, settings.guidance, &tape);
    let clean = denoise(&plan, Box::new(watcher), &mut |done, latents| {
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(map) = seen.step.take() {
            let peak = map.argmax(None::<i64>, false).int64_value(&[]);
            let (y, x) = (peak / seen.grid.1, peak % seen.grid.1);
            println!(
                "step {:>3} of {}: `{word}` peaks at cell {x}, {y}",
                done.step.index + 1,
                done.of
            );
            seen.all = Some(match seen.all.take() {
                Some(sum) => sum + map,
                None => map,
            });
        }
        ControlFlow::Continue(latents)
    })?;

    // 5. Pictures for people.
    let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    let all = seen.all.as_ref().ok_or("no layer was watched")?;
    let values = Vec::<f32>::try_from(all)?;
    let field = ScalarField::new(&values, (seen.grid.1 as u32, seen.grid.0 as u32));
    heat_overlay(&field, &work).save("attention.png")?;
    pipeline.decode(&clean)?.save("edited.png")?;
    Ok(())
}

/// The indices of the tokens that a word's first occurrence in a text is made of.
fn tokens_of(tokens: &TokenizedPrompt, text: &str, word: &str) -> Result<Tensor, Box<dyn Error>> {
    let start = text.find(word).ok_or_else(|| format!("`{word}` is not in `{text}`"))?;
    let end = start + word.len();
    let places = (0i64..).zip(&tokens.offsets);
    let hits =
        places.filter(|(_, it)| it.as_ref().is_some_and(|it| it.start < end && start < it.end));
    let hits: Vec<i64> = hits.map(|(index, _)| index).collect();
    if hits.is_empty() {
        return Err(format!("the model does not read `{word}`").into());
    }
    Ok(Tensor::from_slice(&hits))
}
