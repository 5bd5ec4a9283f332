//! IPTC-IIM data sets in Photoshop image resources, as JPEG files store them (APP13).

use crate::picture::metadata::{texts::latin1, xmp::Property};

/// Prefix of an APP13 segment with image resources.
pub(super) const HEADER: &[u8] = b"Photoshop 3.0\0";

/// The resource that holds the data sets, and those that hold thumbnails.
const DATA_SETS: u16 = 0x0404;
const THUMBNAILS: [u16; 2] = [0x0409, 0x040C];

/// The IPTC data sets among image resources, and whether there is a thumbnail; `None` if they are malformed.
pub(super) fn read(mut resources: &[u8]) -> Option<(Option<Vec<u8>>, bool)> {
    let (mut data, mut has_thumbnail) = (None, false);
    while resources.len() >= 12 {
        let rest = resources.strip_prefix(b"8BIM")?;
        let (id, rest) = rest.split_first_chunk()?;
        let id = u16::from_be_bytes(*id);
        // A name: its length, itself, and a byte that makes both even.
        let name = usize::from(*rest.first()?) + 1;
        let rest = rest.get(name + name % 2..)?;
        let (length, rest) = rest.split_first_chunk()?;
        let length = u32::from_be_bytes(*length) as usize;
        let body = rest.get(..length)?;
        resources = rest.get(length + length % 2..).unwrap_or_default();
        has_thumbnail |= THUMBNAILS.contains(&id);
        if id == DATA_SETS {
            data = Some(body.to_vec());
        }
    }
    Some((data, has_thumbnail))
}

/// The data sets as an APP13 segment's body.
pub(super) fn segment(data: &[u8]) -> Vec<u8> {
    let mut body = HEADER.to_vec();
    body.extend(b"8BIM");
    body.extend(DATA_SETS.to_be_bytes());
    body.extend([0, 0]);
    body.extend((data.len() as u32).to_be_bytes());
    body.extend(data);
    body.extend(vec![0; data.len() % 2]);
    body
}

/// The data sets that have an XMP counterpart.
pub(super) fn properties(data: &[u8]) -> Vec<(Property, String)> {
    let sets = data_sets(data);
    let all = |number: u8| {
        let of = sets.iter().filter(move |(it, _)| *it == number);
        of.map(|(_, value)| text(value)).collect::<Vec<String>>()
    };
    let named = [
        (5, Property::Title),
        (80, Property::Creator),
        (120, Property::Description),
        (116, Property::Rights),
        (110, Property::Credit),
        (115, Property::Source),
        (105, Property::Headline),
    ];
    let mut found: Vec<(Property, String)> = named
        .into_iter()
        .filter_map(|(number, property)| Some((property, all(number).into_iter().next()?)))
        .collect();
    let keywords = all(25);
    if !keywords.is_empty() {
        found.push((Property::Keywords, keywords.join("\n")));
    }
    let first = |number| all(number).into_iter().next();
    found.extend(first(55).and_then(|day| date(&day, first(60))).map(|it| (Property::Created, it)));
    found
}

/// Number and value of each data set of record 2.
fn data_sets(mut data: &[u8]) -> Vec<(u8, &[u8])> {
    let mut sets = Vec::new();
    while let Some((&[0x1C, record, number, high, low], rest)) = data.split_first_chunk() {
        // A length above 32767 is one of a length, which no text needs.
        let length = usize::from(u16::from_be_bytes([high, low]));
        let Some((value, rest)) = rest.split_at_checked(length).filter(|_| length < 1 << 15) else {
            break;
        };
        if record == 2 {
            sets.push((number, value));
        }
        data = rest;
    }
    sets
}

/// Decodes UTF-8 if valid, whatever the envelope record says, else Latin-1.
fn text(value: &[u8]) -> String {
    String::from_utf8(value.to_vec()).unwrap_or_else(|_| latin1(value))
}

/// An ISO 8601 date from `20240501` and `102030+0200`.
fn date(day: &str, time: Option<String>) -> Option<String> {
    let is_day = day.len() == 8 && day.bytes().all(|it| it.is_ascii_digit());
    let day = is_day.then(|| format!("{}-{}-{}", &day[..4], &day[4..6], &day[6..]))?;
    let time = time.filter(|it| it.len() == 11 && it.is_ascii());
    let time = time.map(|it| {
        let (hours, minutes, seconds, zone) = (&it[..2], &it[2..4], &it[4..6], &it[6..9]);
        format!("T{hours}:{minutes}:{seconds}{zone}:{}", &it[9..])
    });
    Some(day + &time.unwrap_or_default())
}
