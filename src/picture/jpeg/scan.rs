//! Walks one scan of a JPEG file block by block.

use crate::picture::jpeg::{
    bits::{Bits, HuffmanTable},
    frame::{Component, Frame},
    incomplete::Incomplete,
};

/// The Huffman tables defined so far.
#[derive(Debug, Default)]
pub(super) struct Tables {
    pub(super) dc: [Option<HuffmanTable>; 4],
    pub(super) ac: [Option<HuffmanTable>; 4],
}

/// The header of a scan.
#[derive(Debug)]
pub(super) struct Scan {
    /// For each component its index in the frame and its table ids.
    components: Vec<(usize, usize, usize)>,
    /// First and last coefficient, in zigzag order (Ss, Se).
    band: (usize, usize),
    /// Successive approximation (Ah, Al): the lowest bit sent before, and the lowest bit of this scan.
    bits: (u8, u8),
}

/// Coding of the blocks in a scan.
#[derive(Debug, Clone, Copy)]
enum Coding {
    /// Sequential: all coefficients at once.
    Sequential,
    /// Progressive: first scan of the DC coefficient.
    First,
    /// Progressive: refinement of the DC coefficient by one bit.
    Refined,
    /// Progressive: first scan of a band of AC coefficients.
    Band,
    /// Progressive: refinement of a band of AC coefficients by one bit.
    RefinedBand,
}

impl Scan {
    /// Reads the scan header, and records in the frame which bits the scan sends.
    pub(super) fn read(body: &[u8], frame: &mut Frame) -> Result<Scan, Incomplete> {
        let (&count, rest) = body.split_first().ok_or(Incomplete)?;
        let (listed, rest) = rest.split_at_checked(2 * usize::from(count)).ok_or(Incomplete)?;
        let (listed, _) = listed.as_chunks::<2>();
        let &[first, last, approximation] = rest.first_chunk().ok_or(Incomplete)?;
        let place = |&[id, tables]: &[u8; 2]| {
            let place = frame.components.iter().position(|it| it.id == id)?;
            Some((place, usize::from(tables >> 4), usize::from(tables & 15)))
        };
        let components: Option<Vec<_>> = listed.iter().map(place).collect();
        let components = components.filter(|it| (1..=4).contains(&it.len())).ok_or(Incomplete)?;
        let (band, bits) = if frame.progressive {
            let band = (usize::from(first), usize::from(last));
            let is_sound = match band {
                (0, last) => last == 0,
                (first, last) => first <= last && last < 64 && components.len() == 1,
            };
            let bits = (approximation >> 4, approximation & 15);
            if !is_sound || bits.1 > 13 || (bits.0 > 0 && bits.0 != bits.1 + 1) {
                return Err(Incomplete);
            }
            (band, bits)
        } else {
            ((0, 63), (0, 0))
        };
        for &(place, ..) in &components {
            frame.components[place].send(band.0..=band.1, bits.0, bits.1)?;
        }
        Ok(Scan { components, band, bits })
    }

    /// Walks the coded data; returns the number of surplus bytes.
    pub(super) fn walk(
        &self,
        frame: &mut Frame,
        tables: &Tables,
        interval: u32,
        coded: &[u8],
    ) -> Result<usize, Incomplete> {
        let alone = self.components.len() == 1;
        let (columns, rows) =
            if alone { frame.components[self.components[0].0].blocks } else { frame.units };
        let coding = self.coding(frame.progressive);
        let mut pieces = Pieces(Some(coded));
        let mut bits = Bits::new(pieces.next(None)?);
        let (mut surplus, mut run, mut restarts, mut left) = (0, 0, 0, interval);
        for unit in 0..columns * rows {
            if interval > 0 && left == 0 {
                surplus += bits.left();
                bits = Bits::new(pieces.next(Some(restarts))?);
                (run, restarts, left) = (0, (restarts + 1) % 8, interval);
            }
            left = left.saturating_sub(1);
            let (column, row) = (unit % columns, unit / columns);
            for &(place, dc, ac) in &self.components {
                let component = &mut frame.components[place];
                let (h, v) = if alone { (1, 1) } else { component.sampling };
                for block in 0..h * v {
                    let at = (row * v + block / h) * component.stride + column * h + block % h;
                    let used = (tables.dc[dc & 3].as_ref(), tables.ac[ac & 3].as_ref());
                    self.block(coding, &mut bits, component, at, used, &mut run)?;
                }
            }
        }
        Ok(surplus + bits.left() + pieces.0.map_or(0, <[u8]>::len))
    }

    fn coding(&self, progressive: bool) -> Coding {
        match (progressive, self.band.0, self.bits.0) {
            (false, ..) => Coding::Sequential,
            (true, 0, 0) => Coding::First,
            (true, 0, _) => Coding::Refined,
            (true, _, 0) => Coding::Band,
            (true, ..) => Coding::RefinedBand,
        }
    }

    /// Skips one block; `run` is the number of further blocks in an end-of-band run.
    fn block(
        &self,
        coding: Coding,
        bits: &mut Bits<'_>,
        component: &mut Component,
        at: usize,
        (dc, ac): (Option<&HuffmanTable>, Option<&HuffmanTable>),
        run: &mut u32,
    ) -> Result<(), Incomplete> {
        let (dc, ac) = (dc.ok_or(Incomplete), ac.ok_or(Incomplete));
        match coding {
            Coding::Refined => bits.skip(1),
            Coding::First => mean(bits, dc?),
            Coding::Sequential => {
                mean(bits, dc?)?;
                sequential(bits, ac?)
            }
            Coding::Band => band(bits, ac?, self.band, &mut component.nonzero[at], run),
            Coding::RefinedBand => {
                refined_band(bits, ac?, self.band, &mut component.nonzero[at], run)
            }
        }
    }
}

/// DC difference: its bit length, then its bits.
fn mean(bits: &mut Bits<'_>, table: &HuffmanTable) -> Result<(), Incomplete> {
    let size = bits.symbol(table)?;
    if size > 16 {
        return Err(Incomplete);
    }
    bits.skip(u32::from(size))
}

/// AC coefficients 1 to 63: runs of zeros, each with a bit length and bits.
fn sequential(bits: &mut Bits<'_>, table: &HuffmanTable) -> Result<(), Incomplete> {
    let mut at = 1;
    while at < 64 {
        let symbol = bits.symbol(table)?;
        let (zeros, size) = (usize::from(symbol >> 4), u32::from(symbol & 15));
        match (zeros, size) {
            (15, 0) => at += 16,
            (_, 0) => return Ok(()),
            _ => {
                at += zeros + 1;
                bits.skip(size)?;
            }
        }
    }
    if at == 64 { Ok(()) } else { Err(Incomplete) }
}

/// First scan of a band of AC coefficients.
fn band(
    bits: &mut Bits<'_>,
    table: &HuffmanTable,
    (first, last): (usize, usize),
    known: &mut u64,
    run: &mut u32,
) -> Result<(), Incomplete> {
    if *run > 0 {
        *run -= 1;
        return Ok(());
    }
    let mut at = first;
    while at <= last {
        let symbol = bits.symbol(table)?;
        let (zeros, size) = (usize::from(symbol >> 4), u32::from(symbol & 15));
        match (zeros, size) {
            (15, 0) => at += 16,
            (zeros, 0) => {
                *run = (1 << zeros) - 1 + bits.take(zeros as u32)?;
                return Ok(());
            }
            _ => {
                at += zeros;
                if at > last {
                    return Err(Incomplete);
                }
                *known |= 1 << at;
                bits.skip(size)?;
                at += 1;
            }
        }
    }
    Ok(())
}

/// Refinement of a band: one bit for each known coefficient, and new coefficients between them.
fn refined_band(
    bits: &mut Bits<'_>,
    table: &HuffmanTable,
    (first, last): (usize, usize),
    known: &mut u64,
    run: &mut u32,
) -> Result<(), Incomplete> {
    let mut at = first;
    if *run == 0 {
        while at <= last {
            let symbol = bits.symbol(table)?;
            let (mut zeros, size) = (usize::from(symbol >> 4), symbol & 15);
            match size {
                0 if zeros < 15 => {
                    *run = (1 << zeros) + bits.take(zeros as u32)?;
                    break;
                }
                0 => {}
                1 => bits.skip(1)?,
                _ => return Err(Incomplete),
            }
            // Past the zeros that the run names, and all known ones before and between them.
            while at <= last {
                if *known >> at & 1 == 1 {
                    bits.skip(1)?;
                } else if zeros == 0 {
                    break;
                } else {
                    zeros -= 1;
                }
                at += 1;
            }
            if size == 1 {
                if at > last {
                    return Err(Incomplete);
                }
                // It is known from the next scan on; in this one its place is passed already.
                *known |= 1 << at;
            }
            at += 1;
        }
    }
    if *run > 0 {
        *run -= 1;
        let rest = (at..=last).filter(|at| *known >> at & 1 == 1).count();
        for _ in 0..rest {
            bits.skip(1)?;
        }
    }
    Ok(())
}

/// Coded data split at restart markers; `None` after the last interval.
struct Pieces<'a>(Option<&'a [u8]>);

impl<'a> Pieces<'a> {
    /// The data up to the next restart marker; `expected` is the number of the marker before it.
    fn next(&mut self, expected: Option<u8>) -> Result<&'a [u8], Incomplete> {
        let data = self.0.ok_or(Incomplete)?;
        let data = match expected {
            Some(number) => data.strip_prefix(&[0xFF, 0xD0 + number]).ok_or(Incomplete)?,
            None => data,
        };
        let is_restart = |pair: &[u8]| pair[0] == 0xFF && (0xD0..=0xD7).contains(&pair[1]);
        let end = data.windows(2).position(is_restart);
        let (piece, rest) = data.split_at(end.unwrap_or(data.len()));
        self.0 = end.map(|_| rest);
        Ok(piece)
    }
}
