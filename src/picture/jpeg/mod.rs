//! Checks that a JPEG file is complete (ITU-T T.81): every block of every component, to the last bit.
//!
//! The decoder silently fills missing data with gray or repeated content. So the coded data is walked here first, which
//! takes a tenth of the decoding time. Corruption that keeps the length can't be detected, since the format has no
//! checksums.

mod bits;
mod frame;
pub(super) mod incomplete;
mod scan;

use crate::picture::{
    container::{self, segment},
    format::FileFormat,
    jpeg::{
        bits::HuffmanTable,
        frame::Frame,
        incomplete::Incomplete,
        scan::{Scan, Tables},
    },
};

/// Bytes of surplus coded data that are tolerated without a warning; some encoders pad scans.
const SURPLUS: usize = 64;

/// Walks a whole Huffman-coded file; returns whether its scans hold much more data than the picture needs.
///
/// Files with other codings, which the decoder refuses, are skipped.
pub(super) fn check(bytes: &[u8]) -> Result<bool, Incomplete> {
    let mut frame: Option<Frame> = None;
    let mut tables = Tables::default();
    let mut interval = 0;
    let mut surplus = 0;
    for part in container::parts(FileFormat::Jpeg, bytes) {
        let part = part.map_err(|_| Incomplete)?;
        match part.tag {
            segment::DHT => define(&mut tables, part.body)?,
            segment::DRI => {
                let body = part.body.first_chunk().ok_or(Incomplete)?;
                interval = u32::from(u16::from_be_bytes(*body));
            }
            tag if segment::is_frame(tag) => {
                if tag[1] > 0xC2 {
                    return Ok(false);
                }
                if frame.is_some() {
                    return Err(Incomplete);
                }
                frame = Some(Frame::read(part.body, tag[1] == 0xC2)?);
            }
            segment::SOS => {
                let frame = frame.as_mut().ok_or(Incomplete)?;
                surplus +=
                    Scan::read(part.body, frame)?.walk(frame, &tables, interval, part.coded)?;
            }
            _ => {}
        }
    }
    match frame {
        Some(frame) if frame.is_whole() => Ok(surplus > SURPLUS),
        _ => Err(Incomplete),
    }
}

/// Reads the tables of a DHT segment: class and id, number of codes of each length, symbols.
fn define(tables: &mut Tables, mut body: &[u8]) -> Result<(), Incomplete> {
    while let Some((&which, rest)) = body.split_first() {
        let (counts, rest) = rest.split_first_chunk::<16>().ok_or(Incomplete)?;
        let total = counts.iter().map(|&it| usize::from(it)).sum();
        let (symbols, rest) = rest.split_at_checked(total).ok_or(Incomplete)?;
        let table = HuffmanTable::new(counts, symbols).ok_or(Incomplete)?;
        let of_class = if which >> 4 == 0 { &mut tables.dc } else { &mut tables.ac };
        *of_class.get_mut(usize::from(which & 15)).ok_or(Incomplete)? = Some(table);
        body = rest;
    }
    Ok(())
}
