//! Blocks: what a backup is made of. Each has a kind, a short head, a payload, and a checksum over all of it.

use std::io::{self, Read, Write};

use sha2::{Digest, Sha256};

/// Longest head.
const MAX_HEAD_BYTES: usize = 1 << 10;

/// Longest payload: a compressed frame, which is never much longer than what it holds.
const MAX_PAYLOAD_BYTES: usize = super::format::MAX_FRAME_BYTES + (1 << 20);

/// Kind, length of the head, length of the payload.
const PREFIX_BYTES: usize = 1 + size_of::<u16>() + size_of::<u32>();

const CHECKSUM_BYTES: usize = 32;

/// A block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) kind: u8,
    pub(super) head: Vec<u8>,
    pub(super) payload: Vec<u8>,
}

/// The next thing in a file.
#[derive(Debug)]
pub(super) enum Next {
    /// A block with the number of its bytes.
    Block(Block, u64),
    /// The file ends here, between two blocks.
    End,
    /// The file ends within a block.
    Cut,
    /// There are bytes that are no block, or are not those that were written.
    Damaged(&'static str),
}

/// Writes a block. Returns the number of its bytes.
pub(super) fn write(out: &mut impl Write, kind: u8, head: &[u8], payload: &[u8]) -> io::Result<u64> {
    let head_length = u16::try_from(head.len()).expect("heads are short");
    let payload_length = u32::try_from(payload.len()).expect("frames are bounded");
    let mut prefix = [0; PREFIX_BYTES];
    prefix[0] = kind;
    prefix[1..3].copy_from_slice(&head_length.to_le_bytes());
    prefix[3..].copy_from_slice(&payload_length.to_le_bytes());
    let checksum = checksum(&prefix, head, payload);
    for part in [&prefix[..], head, payload, &checksum] {
        out.write_all(part)?;
    }
    Ok(length(head.len(), payload.len()))
}

/// Reads the next block.
pub(super) fn read(input: &mut impl Read) -> io::Result<Next> {
    let mut prefix = [0; PREFIX_BYTES];
    match fill(input, &mut prefix)? {
        0 => return Ok(Next::End),
        PREFIX_BYTES => {}
        _ => return Ok(Next::Cut),
    }
    let [kind, h0, h1, lengths @ ..] = prefix;
    let head_length = usize::from(u16::from_le_bytes([h0, h1]));
    let payload_length = usize::try_from(u32::from_le_bytes(lengths)).unwrap_or(usize::MAX);
    if head_length > MAX_HEAD_BYTES || payload_length > MAX_PAYLOAD_BYTES {
        return Ok(Next::Damaged("its length is none"));
    }
    let Some(head) = exactly(input, head_length)? else { return Ok(Next::Cut) };
    let Some(payload) = exactly(input, payload_length)? else { return Ok(Next::Cut) };
    let Some(found) = exactly(input, CHECKSUM_BYTES)? else { return Ok(Next::Cut) };
    if found != checksum(&prefix, &head, &payload) {
        return Ok(Next::Damaged("its checksum does not match"));
    }
    let bytes = length(head_length, payload_length);
    Ok(Next::Block(Block { kind, head, payload }, bytes))
}

fn length(head: usize, payload: usize) -> u64 {
    u64::try_from(PREFIX_BYTES + head + payload + CHECKSUM_BYTES).expect("a usize fits into 64 bits")
}

fn checksum(prefix: &[u8], head: &[u8], payload: &[u8]) -> [u8; CHECKSUM_BYTES] {
    Sha256::new().chain_update(prefix).chain_update(head).chain_update(payload).finalize().into()
}

/// Reads until the buffer is full or the input ends. Returns the number of bytes.
fn fill(input: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match input.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(bytes) => filled += bytes,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// So many bytes, in memory that grows with what is there and not with what is announced.
fn exactly(input: &mut impl Read, bytes: usize) -> io::Result<Option<Vec<u8>>> {
    let mut read = Vec::new();
    let limit = u64::try_from(bytes).expect("a usize fits into 64 bits");
    input.take(limit).read_to_end(&mut read)?;
    Ok((read.len() == bytes).then_some(read))
}
