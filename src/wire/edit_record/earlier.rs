//! Records of layout 1, which had no key `record`: read as records of today, without what they did not say.

use serde_json::{Value, json};

use crate::picture::format::FileFormat;
use crate::wire::edit_record::{EditRecord, LAYOUT};

/// Keys of which a record of layout 1 says nothing.
const UNKNOWN: &[&str] = &[
    "libtorch",
    "picture_sha256",
    "output",
    "preset",
    "mask",
    "localize_seed",
    "min_confidence",
    "localization_sha256",
];

impl EditRecord {
    /// Whether it says all that decided the picture.
    pub fn is_whole(&self) -> bool {
        self.record == LAYOUT
    }

    /// The keys of which it says nothing: none, unless it is of layout 1.
    pub fn unknown(&self) -> &'static [&'static str] {
        if self.is_whole() { &[] } else { UNKNOWN }
    }

    /// Fills in what one of layout 1 does not say: its file tells the type, and a localization that is given was given
    /// then.
    pub fn complete(&mut self, format: FileFormat, has_localization: bool) {
        if !self.is_whole() {
            format.name().clone_into(&mut self.output.format);
            self.pass_one.take_if(|_| has_localization);
        }
    }
}

/// A record of layout 1 with the keys of today. It keeps its layout, so that what it does not say is not compared; a
/// given mask stands in it without its digest, as one that must be given again.
pub(super) fn upgraded(mut record: Value) -> Value {
    let mask = record["mask"].clone();
    let is_given = mask["given"] == true;
    let finds = record["method"] == "iam-edit";
    let needs_clusters = mask["clusters"].as_array().is_some_and(|it| !it.is_empty());
    record["record"] = json!(1);
    record["mask"] = json!({
        "boxes": [],
        "sha256": is_given.then_some(""),
        "clusters": mask["clusters"],
        "invert": mask["invert"],
        "dilate": mask["dilate"],
        "feather": mask["feather"],
    });
    for (key, value) in [
        ("libtorch", json!("")),
        ("picture_sha256", json!("")),
        ("loras", json!([])),
        ("output", json!({"format": "png"})),
        ("preset", Value::Null),
        ("min_confidence", json!(0.0)),
    ] {
        record[key] = value;
    }
    // Its settings of pass 1 are those that one would have had.
    if finds && (!is_given || needs_clusters) {
        record["localize_seed"] = record["seed"].clone();
    } else if let Some(keys) = record.as_object_mut() {
        keys.retain(|key, _| !PASS_ONE.contains(&key.as_str()));
    }
    record
}

/// Keys of pass 1.
const PASS_ONE: &[&str] = &[
    "localize_steps",
    "localize_scheduler",
    "averaged",
    "added_by",
    "k",
    "tau",
    "rows",
    "localizer",
    "score",
    "threshold",
];
