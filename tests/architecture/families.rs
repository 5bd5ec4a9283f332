//! Which rooms know the families of models.

use crate::sources::{code_of, files, lies_in};

/// The rooms that do: what loads them, and what makes one of them a pipeline.
const HOMES: &[&str] = &["models", "pipelines"];

/// What only code for one family names.
const NAMES: [&str; 5] = ["Family::", "flux2", "klein", "qwen", "stable_diffusion"];

/// A method, a command or a service that asks which family a model is of would have to be changed for the next one.
#[test]
fn families_of_models_are_known_to_models_and_pipelines_alone() {
    let mut faults = Vec::new();
    for (path, text) in files(&["src"]) {
        if path.extension().is_none_or(|it| it != "rs") || lies_in(&path, HOMES) {
            continue;
        }
        for (number, line) in text.lines().enumerate() {
            let code = code_of(line).to_lowercase();
            if NAMES.iter().any(|it| code.contains(&it.to_lowercase())) {
                faults.push(format!("{}:{}: {}", path.display(), number + 1, line.trim()));
            }
        }
    }
    assert!(faults.is_empty(), "a family is named outside its rooms:\n{}", faults.join("\n"));
}
