//! Saved localizations: the result of pass 1 as a JSON file, for reuse by later edits.

use serde::{Deserialize, Serialize};

use crate::edit::{
    grid::Grid,
    localization::{Cluster, Localization, WordMap},
    localizer::ScoreSource,
    request::EditRequest,
    selection::Fallback,
};
use crate::picture::size::Size;
use crate::wire::{edit_record::digests, spec::MAX_TEXT};

/// Version of the file's layout. Version 1 had neither the edit's instruction nor the settings of pass 1.
const VERSION: u32 = 2;

/// Largest file that is read, in bytes. That of a picture at 512 pixels has some hundred kilobytes.
pub const MAX_BYTES: u64 = 64 << 20;

/// A saved result of pass 1, with the digests of the picture and the model that it is of.
#[derive(Debug, Clone, PartialEq)]
pub struct SavedLocalization {
    /// SHA-256 of the picture's color values, in hexadecimal.
    pub image_sha256: String,
    /// Digest of the model's weights.
    pub model_digest: String,
    /// The request that it was made for; absent in files of older versions.
    pub asked: Option<Asked>,
    /// The result of pass 1.
    pub localization: Localization,
}

/// The request that a localization was made for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// The edit's instruction.
    pub instruction: String,
    /// Digest of the settings of pass 1; see [`pass_one_digest`](crate::wire::edit_record::digests::pass_one_digest).
    pub pass_one_sha256: String,
}

/// Why a saved localization is refused.
#[derive(Debug, thiserror::Error)]
pub enum LocalizationJsonError {
    /// Not JSON of this layout.
    #[error("not a saved localization: {0}")]
    Json(#[from] serde_json::Error),
    /// Written by another version.
    #[error("a saved localization of version {0}; this retouch reads versions 1 to {VERSION}")]
    Version(u32),
    /// Longer than [`MAX_BYTES`].
    #[error("larger than {MAX_BYTES} bytes, the limit for a saved localization")]
    TooLong,
    /// Its parts are inconsistent.
    #[error("not a saved localization: {0} is inconsistent with the rest")]
    Inconsistent(&'static str),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u32,
    image_sha256: String,
    model_digest: String,
    #[serde(default)]
    asked: Option<Asked>,
    instruction: String,
    grid: (u32, u32),
    resolution: Option<(u32, u32)>,
    labels: Vec<u8>,
    clusters: Vec<ClusterRecord>,
    words: Vec<WordRecord>,
    #[serde(default)]
    scored_by: ScoreSource,
    #[serde(default)]
    contrast: Option<f64>,
    #[serde(default)]
    confidence: Option<f64>,
    fallback: Option<FallbackRecord>,
    #[serde(default = "stands")]
    stands: bool,
    /// Width and height of the covered area.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    covers: Option<(u32, u32)>,
}

/// Default for older files without `stands`: the object is in the picture.
fn stands() -> bool {
    true
}

#[derive(Serialize, Deserialize)]
struct ClusterRecord {
    id: u8,
    score: f64,
    area: f64,
    selected: bool,
}

#[derive(Serialize, Deserialize)]
struct WordRecord {
    word: String,
    is_object: bool,
    grid: (u32, u32),
    values: Vec<f32>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum FallbackRecord {
    NonePassed,
    AllPassed,
}

impl SavedLocalization {
    /// A localization that was made for a request with the model of this digest.
    pub fn of(request: &EditRequest, model_digest: &str, localization: Localization) -> Self {
        Self {
            image_sha256: digests::picture_digest(&request.image),
            model_digest: model_digest.to_owned(),
            asked: Some(Asked {
                instruction: request.instruction.clone(),
                pass_one_sha256: digests::pass_one_digest(request),
            }),
            localization,
        }
    }

    /// Serializes it to the file's text.
    pub fn to_json(&self) -> String {
        let Localization { instruction, grid, resolution, labels, clusters, words, .. } =
            &self.localization;
        let &Localization { scored_by, contrast, confidence, fallback, stands, covers, .. } =
            &self.localization;
        let file = File {
            version: VERSION,
            image_sha256: self.image_sha256.clone(),
            model_digest: self.model_digest.clone(),
            asked: self.asked.clone(),
            instruction: instruction.clone(),
            grid: sides(*grid),
            resolution: Some(sides(*resolution)),
            labels: labels.clone(),
            clusters: clusters.iter().map(ClusterRecord::from).collect(),
            words: words.iter().map(WordRecord::from).collect(),
            scored_by,
            contrast,
            confidence,
            fallback: fallback.map(FallbackRecord::from),
            stands,
            covers: covers.map(|it| (it.width, it.height)),
        };
        serde_json::to_string(&file).expect("numbers and texts become JSON")
    }

    /// Parses a file's text.
    ///
    /// # Errors
    /// [`LocalizationJsonError`] if it is not such a file, or its parts are inconsistent.
    pub fn from_json(text: &str) -> Result<Self, LocalizationJsonError> {
        if text.len() as u64 > MAX_BYTES {
            return Err(LocalizationJsonError::TooLong);
        }
        let file: File = serde_json::from_str(text.trim_start_matches('\u{feff}'))?;
        check(&file)?;
        Ok(Self {
            image_sha256: file.image_sha256,
            model_digest: file.model_digest,
            asked: file.asked,
            localization: Localization {
                instruction: file.instruction,
                grid: grid(file.grid),
                resolution: grid(file.resolution.unwrap_or(file.grid)),
                labels: file.labels,
                clusters: file.clusters.into_iter().map(Cluster::from).collect(),
                words: file.words.into_iter().map(WordMap::from).collect(),
                scored_by: file.scored_by,
                contrast: file.contrast,
                confidence: file.confidence,
                evidence: None,
                fallback: file.fallback.map(Fallback::from),
                stands: file.stands,
                covers: file.covers.map(|(width, height)| Size::new(width, height)),
            },
        })
    }
}

/// Checks the invariants of [`Localization`].
fn check(file: &File) -> Result<(), LocalizationJsonError> {
    if !(1..=VERSION).contains(&file.version) {
        return Err(LocalizationJsonError::Version(file.version));
    }
    let cells = |(height, width): (u32, u32)| u64::from(height) * u64::from(width);
    let labels = &file.labels;
    let (height, width) = file.resolution.unwrap_or(file.grid);
    let is_share = |value: f64| (0.0..=1.0 + SLACK).contains(&value);
    // A cluster's area is its share of the cells.
    let mut held = [0_u32; 256];
    for &label in labels {
        held[usize::from(label)] += 1;
    }
    let is_area = |cluster: &ClusterRecord| {
        let share = f64::from(held[usize::from(cluster.id)]) / labels.len() as f64;
        (share - cluster.area).abs() < SLACK
    };
    let ids = file.clusters.iter().map(|cluster| usize::from(cluster.id));
    let is_word = |word: &WordRecord| {
        cells(word.grid) > 0
            && cells(word.grid) == word.values.len() as u64
            && word.values.iter().all(|&value| is_share(f64::from(value)))
    };
    let holds = [
        ("`resolution`", height > 0 && width > 0 && height <= file.grid.0 && width <= file.grid.1),
        ("`labels`", cells(file.grid) > 0 && cells(file.grid) == labels.len() as u64),
        (
            "`clusters`",
            ids.eq(1..=file.clusters.len()) && file.clusters.iter().any(|it| it.selected),
        ),
        ("`labels`", labels.iter().all(|&it| it > 0 && usize::from(it) <= file.clusters.len())),
        ("`score`", file.clusters.iter().all(|it| is_share(it.score))),
        ("`area`", file.clusters.iter().all(is_area)),
        ("`words`", file.words.iter().all(is_word)),
        ("`contrast`", file.contrast.is_none_or(|it| it.is_finite() && it >= 0.0)),
        ("`confidence`", file.confidence.is_none_or(|it| (0.0..=1.0).contains(&it))),
        ("`instruction`", file.instruction.chars().count() <= 2 * MAX_TEXT),
    ];
    match holds.into_iter().find(|(_, holds)| !holds) {
        Some((part, _)) => Err(LocalizationJsonError::Inconsistent(part)),
        None => Ok(()),
    }
}

/// Tolerance for rounding in a share.
const SLACK: f64 = 1e-6;

fn sides(grid: Grid) -> (u32, u32) {
    (grid.height as u32, grid.width as u32)
}

fn grid((height, width): (u32, u32)) -> Grid {
    Grid { height: i64::from(height), width: i64::from(width) }
}

impl From<&Cluster> for ClusterRecord {
    fn from(&Cluster { id, score, area, selected }: &Cluster) -> Self {
        Self { id, score, area, selected }
    }
}

impl From<ClusterRecord> for Cluster {
    fn from(ClusterRecord { id, score, area, selected }: ClusterRecord) -> Self {
        Self { id, score, area, selected }
    }
}

impl From<&WordMap> for WordRecord {
    fn from(map: &WordMap) -> Self {
        let WordMap { word, is_object, grid, values } = map.clone();
        Self { word, is_object, grid: sides(grid), values }
    }
}

impl From<WordRecord> for WordMap {
    fn from(WordRecord { word, is_object, grid: at, values }: WordRecord) -> Self {
        Self { word, is_object, grid: grid(at), values }
    }
}

impl From<Fallback> for FallbackRecord {
    fn from(fallback: Fallback) -> Self {
        match fallback {
            Fallback::NonePassed => Self::NonePassed,
            Fallback::AllPassed => Self::AllPassed,
        }
    }
}

impl From<FallbackRecord> for Fallback {
    fn from(record: FallbackRecord) -> Self {
        match record {
            FallbackRecord::NonePassed => Self::NonePassed,
            FallbackRecord::AllPassed => Self::AllPassed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn saved() -> SavedLocalization {
        let grid = Grid { height: 2, width: 3 };
        let cluster = |id, score, selected| Cluster { id, score, area: 0.5, selected };
        let word = WordMap {
            word: "bee".to_owned(),
            is_object: true,
            grid,
            values: vec![0.1, 0.2, 0.3, 0.4, 0.5, 0.6],
        };
        SavedLocalization {
            image_sha256: "ab".to_owned(),
            model_digest: "cd".to_owned(),
            asked: Some(Asked {
                instruction: "make the bee blue".to_owned(),
                pass_one_sha256: "ef".to_owned(),
            }),
            localization: Localization {
                instruction: "Change the bee to a granada".to_owned(),
                grid,
                resolution: Grid { height: 1, width: 1 },
                labels: vec![1, 2, 1, 2, 1, 2],
                clusters: vec![cluster(1, 0.9, true), cluster(2, 0.1, false)],
                words: vec![word],
                scored_by: ScoreSource::NoiseDifference,
                contrast: Some(1.25),
                confidence: Some(0.75),
                evidence: None,
                fallback: Some(Fallback::NonePassed),
                stands: false,
                covers: Some(Size::new(6, 5)),
            },
        }
    }

    #[test]
    fn what_was_saved_is_read_again() {
        assert_eq!(SavedLocalization::from_json(&saved().to_json()).unwrap(), saved());
    }

    #[test]
    fn a_file_of_the_version_before_is_read() {
        let json = saved().to_json().replacen("\"version\":2", "\"version\":1", 1);
        let asked = serde_json::to_string(&saved().asked).unwrap();
        let json = json.replacen(&format!("\"asked\":{asked},"), "", 1);
        assert!(!json.contains("asked"));
        let read = SavedLocalization::from_json(&json).unwrap();
        assert_eq!(read, SavedLocalization { asked: None, ..saved() });
    }

    #[test]
    fn files_that_contradict_themselves_are_refused() {
        let json = saved().to_json();
        for (from, to) in [
            ("\"version\":2", "\"version\":9"),
            ("\"version\":2", "\"version\":0"),
            ("[1,2,1,2,1,2]", "[1,2,1,1,1,1]"),
            ("\"resolution\":[1,1]", "\"resolution\":[4000000000,1]"),
            ("\"resolution\":[1,1]", "\"resolution\":[0,1]"),
            ("0.9", "1e999"),
            ("0.9", "NaN"),
            ("0.9", "-0.5"),
            ("0.6", "1e39"),
            ("\"contrast\":1.25", "\"contrast\":-1"),
            ("\"selected\":true", "\"selected\":false"),
            ("[1,2,1,2,1,2]", "[1,2,1,2,1]"),
            ("[1,2,1,2,1,2]", "[1,2,1,2,1,3]"),
            ("\"id\":2", "\"id\":4"),
            ("\"confidence\":0.75", "\"confidence\":1.5"),
            ("\"grid\":[2,3],\"values\"", "\"grid\":[4000000000,4000000000],\"values\""),
            ("{", ""),
        ] {
            let broken = json.replacen(from, to, 1);
            assert_ne!(broken, json, "{from}");
            assert!(SavedLocalization::from_json(&broken).is_err(), "{from} -> {to}");
        }
    }
}
