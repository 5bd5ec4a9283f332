//! Offline check and repair of a data folder: its contents, damaged or lost records and files, and which of these can
//! be repaired.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt, fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use prost::Message;
use redb::{ReadableDatabase, ReadableTable};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::journal::{
    Journal, STORE,
    error::JournalError,
    id_of,
    layout::{self, SET_ASIDE},
    space::Space,
    tables::{self, ARTIFACTS, EVENTS, JOBS, guarded},
    takeover,
};
use crate::wire::{
    journal::v1::{ArtifactRecord, JobRecord},
    v1::{self, EditEvent, edit_event::Event},
};

/// A problem found in a data folder.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Finding {
    /// A record that can't be decoded as its protobuf message.
    Record {
        /// `job`, `event` or `artifact`.
        what: &'static str,
        /// Id of the record's job or artifact.
        id: Uuid,
    },
    /// An artifact whose file is missing, or doesn't match the stored length or SHA-256.
    Lost {
        /// The artifact.
        id: Uuid,
        /// What is wrong with the file.
        why: &'static str,
    },
    /// A file named like an artifact that no record knows.
    Unknown(PathBuf),
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Record { what: "job", id } => {
                write!(f, "damaged: the record of jobs/{id} can't be read")
            }
            Self::Record { what: "event", id } => {
                write!(f, "damaged: an event of jobs/{id} can't be read")
            }
            Self::Record { what, id } => {
                write!(f, "damaged: the record of {what}s/{id} can't be read")
            }
            Self::Lost { id, why } => write!(f, "lost: the file of artifacts/{id} {why}"),
            Self::Unknown(path) => write!(f, "unknown: no record for the file {}", path.display()),
        }
    }
}

/// Readable contents of a data folder.
#[derive(Debug, Default)]
pub struct Contents {
    /// Jobs, oldest first, without their localizations.
    pub jobs: Vec<JobRecord>,
    /// Artifacts with a record.
    pub artifacts: HashMap<Uuid, ArtifactRecord>,
    /// What each artifact is, by the events that refer to it, such as `mask` or `heatmap-bee`.
    pub shows: HashMap<Uuid, String>,
    /// Files named like artifacts.
    pub files: BTreeMap<Uuid, PathBuf>,
    /// Records that can't be decoded.
    pub findings: Vec<Finding>,
}

/// Reads a data folder without changing it; no server may run on it.
///
/// # Errors
/// [`JournalError::Missing`]; [`JournalError::InUse`] while a server runs; others if the store can't be read at all.
pub fn contents(folder: &Path) -> Result<Contents, JournalError> {
    let mut journal = Journal::read_only(folder)?;
    let path = journal.path.clone();
    guarded(&path, || {
        // A store that was not closed, as after a crash, is repaired in memory here, and on disk when a server starts.
        let checked = journal.db.check_integrity();
        checked.map_err(|error| JournalError::store(&path, error.into()))?;
        let mut contents = journal.look()?;
        contents.files = files_of(folder)?;
        let going = journal.going()?;
        contents.files.retain(|id, _| !going.contains(id));
        Ok(contents)
    })
}

/// Files in a data folder named like artifacts, with or without a store.
///
/// # Errors
/// [`JournalError::Io`].
pub fn files_of(folder: &Path) -> Result<BTreeMap<Uuid, PathBuf>, JournalError> {
    let mut files = BTreeMap::new();
    for place in [SET_ASIDE, layout::ARTIFACTS] {
        let place = folder.join(place);
        let found = takeover::found(&place).map_err(|source| JournalError::io(&place, source))?;
        files.extend(found.into_iter().filter(|it| !it.is_partial).map(|it| (it.id, it.path)));
    }
    Ok(files)
}

/// All problems in a data folder; verifies the SHA-256 of every file.
///
/// # Errors
/// [`JournalError::Io`] if a file can't be read.
pub fn findings(contents: &Contents) -> Result<Vec<Finding>, JournalError> {
    let mut findings = contents.findings.clone();
    for (id, record) in &contents.artifacts {
        let expected = record.artifact.as_ref().map(|it| it.sha256.as_ref()).unwrap_or_default();
        let why = match contents.files.get(id) {
            None => "is missing",
            Some(path) => {
                let found = sha256(path).map_err(|source| JournalError::io(path, source))?;
                if found == *expected {
                    continue;
                }
                "has changed since it was stored (SHA-256 differs)"
            }
        };
        findings.push(Finding::Lost { id: *id, why });
    }
    let unknown = contents.files.iter().filter(|(id, _)| !contents.artifacts.contains_key(id));
    findings.extend(unknown.map(|(_, path)| Finding::Unknown(path.clone())));
    findings.sort();
    Ok(findings)
}

/// Drops records that can't be decoded, after copying the store; then reconciles files with records as a server's start
/// does. Returns the path of the copy if the store was changed.
///
/// # Errors
/// As [`contents`]; then nothing was changed.
pub fn repair(folder: &Path) -> Result<Option<PathBuf>, JournalError> {
    let path = folder.join(STORE);
    let mut kept = None;
    if !contents(folder)?.findings.is_empty() {
        let copy = (0..).map(|it| path.with_extension(format!("redb.before-repair-{it}")));
        let copy = { copy }.find(|it| !it.exists()).expect("numbers don't end");
        fs::copy(&path, &copy).map_err(|source| JournalError::io(&copy, source))?;
        let db = tables::create(&path)?;
        guarded(&path, || {
            tables::prepare(&db, &path)?;
            drop_damaged(&db).map_err(|source| JournalError::store(&path, source))
        })?;
        kept = Some(copy);
    }
    Journal::open(folder, Space { quota: u64::MAX, min_free: 0 })?;
    Ok(kept)
}

impl Journal {
    /// Reads the store's contents, collecting records that can't be decoded as findings.
    fn look(&self) -> Result<Contents, JournalError> {
        let mut contents = Contents::default();
        let mut damaged = BTreeSet::new();
        self.each_bytes(JOBS, |id, bytes| {
            match JobRecord::decode(bytes) {
                Ok(mut record) => {
                    record.localization.clear();
                    contents.jobs.push(record);
                }
                Err(_) => drop(damaged.insert(Finding::Record { what: "job", id })),
            }
            Ok(())
        })?;
        self.each_bytes(ARTIFACTS, |id, bytes| {
            match ArtifactRecord::decode(bytes) {
                Ok(record) => drop(contents.artifacts.insert(id, record)),
                Err(_) => drop(damaged.insert(Finding::Record { what: "artifact", id })),
            }
            Ok(())
        })?;
        let shows = &mut contents.shows;
        let mut events = || -> Result<(), redb::Error> {
            for item in self.db.begin_read()?.open_table(EVENTS)?.iter()? {
                let (key, value) = item?;
                if let Ok(event) = EditEvent::decode(value.value()) {
                    shows.extend(event.event.iter().flat_map(shown));
                } else {
                    let id = Uuid::from_u128(key.value().0);
                    damaged.insert(Finding::Record { what: "event", id });
                }
            }
            Ok(())
        };
        events().map_err(|source| self.store_error(source))?;
        contents.findings = damaged.into_iter().collect();
        Ok(contents)
    }
}

/// The artifacts that an event refers to, with what each one is.
fn shown(event: &Event) -> Vec<(Uuid, String)> {
    let named = |artifact: &Option<v1::Artifact>, what: &str| {
        Some((id_of(&artifact.as_ref()?.name)?, what.to_owned()))
    };
    let shown = match event {
        Event::ClusterMap(it) => {
            vec![named(&it.image, "clusters"), named(&it.labels, "cluster-labels")]
        }
        Event::Part(it) => vec![named(&it.image, &format!("part-{}", it.number))],
        Event::Heatmap(it) => vec![named(&it.image, &format!("heatmap-{}", it.word))],
        Event::MaskProposed(it) => vec![named(&it.mask, "proposed-mask")],
        Event::MaskSettled(it) => vec![named(&it.mask, "mask")],
        Event::Result(it) => vec![named(&it.image, "result")],
        _ => Vec::new(),
    };
    shown.into_iter().flatten().collect()
}

/// SHA-256 of a file.
fn sha256(path: &Path) -> io::Result<Vec<u8>> {
    let (mut file, mut hash) = (fs::File::open(path)?, Sha256::new());
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hash.finalize().to_vec()),
            read => hash.update(&buffer[..read]),
        }
    }
}

/// Drops records that can't be decoded: jobs with their events, single events, artifacts.
fn drop_damaged(db: &redb::Database) -> Result<(), redb::Error> {
    let write = db.begin_write()?;
    let mut less = 0;
    let mut lost = BTreeSet::new();
    write.open_table(JOBS)?.retain(|id, bytes| {
        let sound = JobRecord::decode(bytes).is_ok();
        if !sound {
            lost.insert(id);
            less += bytes.len();
        }
        sound
    })?;
    write.open_table(EVENTS)?.retain(|(job, _), bytes| {
        let sound = EditEvent::decode(bytes).is_ok() && !lost.contains(&job);
        less += if sound { 0 } else { bytes.len() };
        sound
    })?;
    write.open_table(tables::REQUESTS)?.retain(|_, job| !lost.contains(&job))?;
    write.open_table(ARTIFACTS)?.retain(|_, bytes| ArtifactRecord::decode(bytes).is_ok())?;
    tables::count(&write, -(less as i64))?;
    write.commit()?;
    Ok(())
}
