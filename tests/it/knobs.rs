//! Every setting of an edit under each of its names: flag and help, schema, `retouch.json`, record, docs/settings.md.

use std::{collections::BTreeSet, fs, path::Path, sync::Arc};

use image::RgbImage;
use retouch::{
    edit::{
        knobs::StepShare,
        overrides::{Access, EditOverrides, KNOBS, Knob, SettingDefault},
        settings::EditSettings,
    },
    picture::{Picture, encode::OutputFormat},
    sampling::SchedulerKind,
    wire::{
        edit_record::{EditRecord, Localized, MadePicture, RunEnvironment},
        message_json, overrides,
        v1::EditSpec,
    },
};
use serde_json::{Value, json};

use crate::cli::Desk;
use crate::support::edit_request;

/// Every setting that a model may have, in `retouch.json`.
const ALL_KEYS: &str = r#"{"threshold": 0.5, "localize_scheduler": "ddim"}"#;

#[test]
fn each_setting_has_names_of_its_own() {
    let columns: [fn(&Knob) -> Access; 4] =
        [|it| it.flag, |it| it.field, |it| it.key, |it| it.record];
    for column in columns {
        let names: Vec<&str> = KNOBS.iter().filter_map(|it| column(it).name()).collect();
        assert_eq!(names.len(), names.iter().collect::<BTreeSet<_>>().len(), "{names:?}");
    }
}

#[test]
fn each_setting_is_where_the_table_says_and_nowhere_else() {
    let help = Desk::new().retouch(["edit", "--help"]).output().unwrap().stdout;
    let help = String::from_utf8(help).unwrap();
    let schema = read("proto/retouch/v1/edit.proto");
    let record = record();
    for knob in KNOBS {
        let about = knob.about.trim_end_matches('.');

        // 1. The flag, with its default, its range and what it does.
        match knob.flag {
            Access::Named(name) => {
                let flag = format!("--{}", name.replace('_', "-"));
                let told = told(&help, &flag).unwrap_or_else(|| panic!("there is no {flag}"));
                assert!(told.contains(about), "{flag} does not say `{about}`: {told}");
                assert!(told.contains(&format!("[default: {}]", default(knob))), "{flag}: {told}");
                assert!(tells(&told, knob), "{flag} does not say `{}`: {told}", knob.range);
            }
            _ => assert!(told(&help, &format!("--{}", knob.name.replace('_', "-"))).is_none()),
        }

        // 2. The field of the schema, with its range; what it says is read, and written again.
        match knob.field {
            Access::Named(name) => {
                let told = comment(&schema, name);
                assert!(!knob.range.contains(" to ") || tells(&told, knob), "{name}: {told}");
                for value in samples(knob) {
                    let value = if name == "resize" { json!({ "fit": 64 }) } else { value };
                    let asked =
                        message_json::spec([(name.to_owned(), value)].into_iter().collect());
                    let asked = asked.unwrap();
                    let said = overrides::of_spec(&asked).unwrap();
                    assert_ne!(said, EditOverrides::default(), "`{name}` is not read");
                    let mut written = EditSpec::default();
                    overrides::put(&said, &mut written);
                    assert_eq!(written, asked, "`{name}` is not written");
                }
            }
            _ => assert!(!message_json::has_field("EditSpec", knob.name), "{}", knob.name),
        }

        // 3. The key of a model; the standard value changes nothing, and others do.
        let settings =
            |value: &Value| EditSettings::recommended(&json!({knob.name: value}).to_string());
        match knob.key {
            Access::Named(name) => {
                assert_eq!(name, knob.name);
                if let Some(value) = standard(knob) {
                    assert_eq!(settings(&value).unwrap(), EditSettings::standard(), "{name}");
                }
                let changed = |it| settings(it).unwrap() != EditSettings::standard();
                assert!(samples(knob).iter().any(changed), "`{name}` is not read");
            }
            _ => assert!(settings(&samples(knob)[0]).is_err(), "{}", knob.name),
        }

        // 4. The key of a record.
        let key = knob.record.name();
        assert_eq!(record.get(key.unwrap_or(knob.name)).is_some(), key.is_some(), "{}", knob.name);
    }
}

#[test]
fn the_documented_table_is_that_of_the_code() {
    let documented = read("docs/settings.md");
    let table: String = KNOBS.iter().map(row).collect();
    assert!(documented.contains(&table), "the rows of docs/settings.md should be:\n{table}");
}

/// What holds where nobody says it.
fn default(knob: &Knob) -> String {
    match knob.default {
        SettingDefault::Else(value) => format!("the model's, else {value}"),
        SettingDefault::Rule(words) => words.to_owned(),
    }
}

fn row(knob: &Knob) -> String {
    let name = |access: Access, dashes: bool| match access.name() {
        Some(name) if dashes => format!("`--{}`", name.replace('_', "-")),
        Some(name) => format!("`{name}`"),
        None => "–".to_owned(),
    };
    format!(
        "| {} | {} | {} | {} | {} | {} | {} |\n",
        knob.about.trim_end_matches('.'),
        name(knob.flag, true),
        name(knob.field, false),
        name(knob.key, false),
        name(knob.record, false),
        knob.range,
        default(knob),
    )
}

/// Whether a text says the range: its numbers, or its names.
fn tells(text: &str, knob: &Knob) -> bool {
    match knob.name {
        // Any number.
        "localize_seed" => true,
        _ if knob.range.contains(" to ") => text.contains(knob.range),
        _ => knob.range.split(", ").all(|it| text.contains(it)),
    }
}

/// The standard value, as JSON, where it is one.
fn standard(knob: &Knob) -> Option<Value> {
    let SettingDefault::Else(text) = knob.default else { return None };
    let text = if text == "no" { "false" } else { text };
    Some(serde_json::from_str(text).unwrap_or_else(|_| json!(text)))
}

/// Values within its range.
fn samples(knob: &Knob) -> Vec<Value> {
    let weights = ["bias", "contrast", "inside", "spread", "peak", "weakest", "mean", "agreement"];
    match knob.name {
        "localize_seed" => vec![json!(u64::MAX.to_string())],
        "resize" => vec![json!("native")],
        "isam_level" | "icam_level" => vec![json!(0)],
        "nouns" => vec![json!(["bee"])],
        "isam_blocks" | "icam_blocks" => vec![json!(["transformer_blocks.0-2"])],
        "noun_prompt" => vec![json!("a {}")],
        "localization_instruction" => vec![json!("turn {object} into a {word}")],
        "edit_instruction" => vec![json!({"remove": "erase {object}"})],
        "confidence" => vec![weights.map(|it| (it, 1.0)).into_iter().collect()],
        _ if knob.range == StepShare::RANGE => vec![json!([0.25, 0.5])],
        _ => {
            if let Some((from, until)) = knob.range.split_once(" to ") {
                [from, until].map(|it| serde_json::from_str(it).unwrap()).to_vec()
            } else {
                let names = knob.range.split(", ");
                // Its name in the schema is longer.
                let names = names.filter(|it| *it != SchedulerKind::DpmSolverPlusPlus2M.name());
                let value = |it| match it {
                    "true" | "false" => json!(it == "true"),
                    name => json!(name),
                };
                names.map(value).collect()
            }
        }
    }
}

/// The help of a flag, in one line.
fn told(help: &str, flag: &str) -> Option<String> {
    let is_flag = |line: &&str| line.starts_with("      --") || line.starts_with("  -");
    let names = |line: &str| {
        let rest = line.trim_start().strip_prefix(flag);
        rest.is_some_and(|it| !it.starts_with(|c: char| c.is_ascii_lowercase() || c == '-'))
    };
    let mut lines = help.lines().skip_while(|line| !(is_flag(line) && names(line)));
    let first = lines.next()?;
    let more = lines.take_while(|line| !is_flag(line));
    let words = [first].into_iter().chain(more).flat_map(str::split_whitespace);
    Some(words.collect::<Vec<_>>().join(" "))
}

/// The comment above a field of `EditSpec`, in one line.
fn comment(schema: &str, field: &str) -> String {
    let spec = &schema[schema.find("message EditSpec {").unwrap()..];
    let mut comment = Vec::new();
    for line in spec.lines().map(str::trim) {
        match line.strip_prefix("// ") {
            Some(text) => comment.push(text),
            None if line.contains(&format!(" {field} = ")) => return comment.join(" "),
            None => comment.clear(),
        }
    }
    panic!("EditSpec has no `{field}`")
}

/// A record of all settings.
fn record() -> Value {
    let settings = EditSettings::recommended(ALL_KEYS).unwrap();
    let request = edit_request(&RgbImage::new(16, 16), "make the bee a bird", settings);
    let origin = RunEnvironment {
        model: "",
        model_digest: "",
        device: "cpu",
        dtype: "",
        libtorch: "",
        loras: &[],
    };
    let made = MadePicture {
        origin,
        preset: None,
        picture: &Picture { rgb: Arc::clone(&request.image), alpha: None, icc: None },
        format: OutputFormat::Png,
        localization: Localized::Here,
        confidence: None,
        drift: None,
        later_masks: vec![],
    };
    serde_json::from_str(&EditRecord::of(&request, &made).to_json()).unwrap()
}

fn read(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}
