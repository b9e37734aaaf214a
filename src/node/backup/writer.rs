//! Writes a backup to any output.

use std::io::{self, Write};

use super::block;
use super::format::{FRAME, FRAME_BYTES, FrameHead, HEADER, Header, MAGIC, Moment, TRAILER, Trailer, VERSION, head};

/// The level of the compression: a tenth of a core at the rate of a backup, and about a fifth of the bytes.
const ZSTD_LEVEL: i32 = 3;

/// Writes a backup: a header, then entries, then its end.
pub struct BackupWriter<W> {
    out: W,
    /// The last entry of the last frame.
    framed_end: Moment,
    /// Entries that are not in a frame yet, and the last of them.
    pending: Vec<u8>,
    pending_end: Moment,
    written: u64,
    compressor: zstd::bulk::Compressor<'static>,
}

impl<W: Write> BackupWriter<W> {
    /// Writes the header.
    ///
    /// # Errors
    /// If the output fails.
    pub fn begin(mut out: W, header: &Header) -> io::Result<Self> {
        out.write_all(&MAGIC)?;
        out.write_all(&VERSION.to_le_bytes())?;
        let preamble = u64::try_from(super::format::PREAMBLE_BYTES).expect("a usize fits into 64 bits");
        let written = preamble + block::write(&mut out, HEADER, &head(header), &[])?;
        Self::go_on(out, header.after, written)
    }

    /// Goes on after whole frames that end at `end`, with so many bytes before.
    pub(super) fn go_on(out: W, end: Moment, written: u64) -> io::Result<Self> {
        let compressor = zstd::bulk::Compressor::new(ZSTD_LEVEL)?;
        Ok(Self { out, framed_end: end, pending: Vec::new(), pending_end: end, written, compressor })
    }

    /// The last entry so far.
    #[must_use]
    pub const fn end(&self) -> Moment {
        self.pending_end
    }

    /// Bytes that were written so far.
    #[must_use]
    pub const fn written(&self) -> u64 {
        self.written
    }

    /// Adds a stretch of entries that follow those before them and end at `end`. Its chain must have been verified.
    ///
    /// # Errors
    /// If the output fails; what was written is no backup then.
    pub fn append(&mut self, stretch: &[u8], end: Moment) -> io::Result<()> {
        self.pending.extend_from_slice(stretch);
        self.pending_end = end;
        if self.pending.len() >= FRAME_BYTES { self.write_frame() } else { Ok(()) }
    }

    pub(super) fn write_frame(&mut self) -> io::Result<()> {
        let payload = self.compressor.compress(&self.pending)?;
        let bytes = u32::try_from(self.pending.len()).expect("a frame is bounded");
        let frame = FrameHead { end: self.pending_end, bytes };
        self.written += block::write(&mut self.out, FRAME, &head(&frame), &payload)?;
        self.framed_end = self.pending_end;
        self.pending.clear();
        Ok(())
    }

    /// Writes what is left and the trailer, and returns the output.
    ///
    /// # Errors
    /// If the output fails.
    pub fn finish(mut self) -> io::Result<(W, u64)> {
        if !self.pending.is_empty() {
            self.write_frame()?;
        }
        self.written += block::write(&mut self.out, TRAILER, &head(&Trailer { end: self.framed_end }), &[])?;
        self.out.flush()?;
        Ok((self.out, self.written))
    }
}
