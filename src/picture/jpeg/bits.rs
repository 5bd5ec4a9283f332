//! Bit reader and Huffman decoding for JPEG scans.

use crate::picture::jpeg::incomplete::Incomplete;

/// A Huffman lookup table: for each 16-bit prefix the code length and the symbol.
#[derive(Debug, Clone)]
pub(super) struct HuffmanTable(Vec<(u8, u8)>);

impl HuffmanTable {
    /// Builds a table from the number of codes of each length 1..=16 and the symbols in order; `None` if the counts are
    /// invalid.
    pub(super) fn new(counts: &[u8; 16], symbols: &[u8]) -> Option<HuffmanTable> {
        let mut entries = Vec::with_capacity(1 << 16);
        let mut symbols = symbols.iter();
        for (index, &count) in counts.iter().enumerate() {
            let length = index as u8 + 1;
            for symbol in symbols.by_ref().take(usize::from(count)) {
                let ends = entries.len() + (1 << (16 - length));
                if ends > 1 << 16 {
                    return None;
                }
                entries.resize(ends, (length, *symbol));
            }
        }
        entries.resize(1 << 16, (0, 0));
        Some(HuffmanTable(entries))
    }
}

/// The bits of one restart interval, without stuffed bytes.
#[derive(Debug)]
pub(super) struct Bits<'a> {
    bytes: &'a [u8],
    /// Bits read ahead, from the highest.
    ahead: u64,
    /// Number of bits read ahead.
    count: u32,
}

impl<'a> Bits<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Bits<'a> {
        // What fills up before a marker is no data; a 0xFF that is data has a zero behind it.
        let end = bytes.iter().rposition(|&it| it != 0xFF).map_or(0, |it| it + 1);
        Bits { bytes: &bytes[..end], ahead: 0, count: 0 }
    }

    /// Decodes the next symbol.
    pub(super) fn symbol(&mut self, table: &HuffmanTable) -> Result<u8, Incomplete> {
        self.fill();
        let (length, symbol) = table.0[(self.ahead >> 48) as usize];
        if length == 0 {
            return Err(Incomplete);
        }
        self.skip(u32::from(length))?;
        Ok(symbol)
    }

    /// Skips up to 16 bits.
    pub(super) fn skip(&mut self, count: u32) -> Result<(), Incomplete> {
        self.take(count).map(drop)
    }

    /// Reads up to 16 bits as a number.
    pub(super) fn take(&mut self, count: u32) -> Result<u32, Incomplete> {
        if self.count < count {
            self.fill();
        }
        self.count = self.count.checked_sub(count).ok_or(Incomplete)?;
        let taken = if count == 0 { 0 } else { (self.ahead >> (64 - count)) as u32 };
        self.ahead <<= count;
        Ok(taken)
    }

    /// Number of whole bytes left.
    pub(super) fn left(&self) -> usize {
        self.bytes.len() + (self.count / 8) as usize
    }

    fn fill(&mut self) {
        while self.count <= 48 {
            let Some((&byte, rest)) = self.bytes.split_first() else { return };
            self.bytes = if byte == 0xFF { rest.get(1..).unwrap_or_default() } else { rest };
            self.ahead |= u64::from(byte) << (56 - self.count);
            self.count += 8;
        }
    }
}
