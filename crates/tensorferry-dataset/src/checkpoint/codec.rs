//! A checkpoint as bytes.
//!
//! Numbers are written in LEB128: seven bits per byte, lowest first, with the highest bit set if
//! more bytes follow. Texts and lists follow their length. The bytes end with a hash of everything
//! before it, which detects bytes that were truncated or changed.

use crate::checkpoint::change::Resharded;
use crate::checkpoint::checkpoint::{Checkpoint, Plan};
use crate::checkpoint::part::Part;
use crate::checkpoint::progress::Progress;
use crate::checkpoint::reshard::MOST_SHARDS;
use crate::checkpoint::state::State;
use crate::error::{Error, Result};
use crate::shuffle::prng;
use crate::stack::{NESTED, at_depth};
use crate::stage::Epoch;
use crate::transforms::select::parts::Parts;
use tensorferry_core::{ByteOrder, DType, Tensor};
use tensorferry_io::gather::rows_out::filled;
use tensorferry_io::memory::room::{Room, collected};

const MAGIC: &[u8; 4] = b"TFst";
const VERSION: u8 = 1;

impl Checkpoint {
    /// The checkpoint as bytes that [`Checkpoint::from_bytes`] reads, on every machine and in every
    /// later version.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.put(&mut out);
        out.extend(prng::hash(&out).to_le_bytes());
        out
    }

    /// As [`Checkpoint::to_bytes`], for large states: a shuffle's buffer, the values that `unique`
    /// has seen.
    ///
    /// # Errors
    /// [`tensorferry_core::Error::Allocation`].
    pub fn try_to_bytes(&self) -> Result<Vec<u8>> {
        let mut len = Length(size_of::<u64>());
        self.put(&mut len);
        let mut out = Vec::new();
        out.make_room(len.0)?;
        self.put(&mut out);
        out.extend(prng::hash(&out).to_le_bytes());
        Ok(out)
    }

    /// Everything but the hash.
    fn put(&self, out: &mut impl Sink) {
        out.bytes(MAGIC);
        out.bytes(&[VERSION]);
        put_text(out, &self.plan.text);
        out.bytes(&self.plan.hash.to_le_bytes());
        let part = &self.plan.part;
        put_int(out, part.shards);
        put_int(out, part.index);
        out.bytes(&part.whole.to_le_bytes());
        out.bytes(&[u8::from(part.counts)]);
        put_parts(out, part.parts);
        put_ints(out, &self.seeds);
        put_int(out, self.epoch.0);
        put_int(out, self.position);
        let progress = &self.progress;
        out.bytes(&progress.plan.to_le_bytes());
        put_int(out, progress.each);
        out.bytes(&[u8::from(progress.drops)]);
        put_int(out, progress.skipped);
        match progress.rows {
            None => out.bytes(&[0]),
            Some(rows) => {
                out.bytes(&[1]);
                put_int(out, rows);
            }
        }
        match &self.state {
            None => out.bytes(&[0]),
            Some(state) => {
                out.bytes(&[1]);
                put_state(out, state, 0);
            }
        }
        put_int(out, self.origins.len() as u64);
        for origin in &self.origins {
            put_parts(out, origin.parts);
            put_runs(out, &origin.positions);
        }
    }

    /// Reads what [`Checkpoint::to_bytes`] wrote.
    ///
    /// # Errors
    /// [`Error::State`] if the bytes are something else, are damaged, or were written by a later
    /// version.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let Some((content, sum)) = bytes.split_last_chunk::<8>() else {
            return Err(damaged("they are too few"));
        };
        let Some((head, rest)) = content.split_first_chunk::<5>() else {
            return Err(damaged("they are too few"));
        };
        if !head.starts_with(MAGIC) {
            return Err(damaged("they are not a saved iteration"));
        }
        if head[4] != VERSION {
            return Err(damaged(&format!(
                "they are of version {}; this one reads version {VERSION}",
                head[4]
            )));
        }
        if prng::hash(content) != u64::from_le_bytes(*sum) {
            return Err(damaged("they were changed or cut"));
        }
        let mut read = Reader { bytes: rest };
        let text = read.text()?;
        let hash = read.fixed()?;
        let part = Part {
            shards: read.int()?,
            index: read.int()?,
            whole: read.fixed()?,
            counts: read.flag()?,
            parts: read.parts()?,
        };
        let plan = Plan { text, hash, part };
        let (seeds, epoch, position) = (read.ints()?, Epoch(read.int()?), read.int()?);
        let progress = Progress {
            plan: read.fixed()?,
            each: read.int()?,
            drops: read.flag()?,
            skipped: read.int()?,
            rows: if read.flag()? { Some(read.int()?) } else { None },
        };
        let state = if read.flag()? { Some(read.state(0)?) } else { None };
        let origin =
            |read: &mut Reader<'_>| Ok(Resharded { parts: read.parts()?, positions: read.runs()? });
        let origins = (0..read.count()?).map(|_| origin(&mut read)).collect::<Result<_>>()?;
        match read.bytes {
            [] => Ok(Self { plan, seeds, epoch, position, progress, state, origins }),
            _ => Err(damaged("there are too many")),
        }
    }
}

fn damaged(why: &str) -> Error {
    Error::State { what: format!("the bytes of the state cannot be read: {why}") }
}

/// A destination of bytes.
trait Sink {
    fn bytes(&mut self, bytes: &[u8]);

    /// Appends `len` bytes that `fill` writes.
    fn filled(&mut self, len: usize, fill: impl FnOnce(&mut [u8]));
}

impl Sink for Vec<u8> {
    fn bytes(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }

    fn filled(&mut self, len: usize, fill: impl FnOnce(&mut [u8])) {
        let start = self.len();
        self.resize(start + len, 0);
        fill(&mut self[start..]);
    }
}

/// Counts bytes instead of storing them.
struct Length(usize);

impl Sink for Length {
    fn bytes(&mut self, bytes: &[u8]) {
        self.0 = self.0.saturating_add(bytes.len());
    }

    fn filled(&mut self, len: usize, _fill: impl FnOnce(&mut [u8])) {
        self.0 = self.0.saturating_add(len);
    }
}

fn put_int(out: &mut impl Sink, mut value: u64) {
    loop {
        let low = value.to_le_bytes()[0] & 0x7f;
        value >>= 7;
        if value == 0 {
            return out.bytes(&[low]);
        }
        out.bytes(&[low | 0x80]);
    }
}

fn put_parts(out: &mut impl Sink, parts: Parts) {
    out.bytes(&[u8::from(parts == Parts::Contiguous)]);
}

fn put_ints(out: &mut impl Sink, values: &[u64]) {
    put_int(out, values.len() as u64);
    values.iter().for_each(|value| put_int(out, *value));
}

/// Numbers, each with how often it follows itself: shards in step are all at one position.
fn put_runs(out: &mut impl Sink, values: &[u64]) {
    let runs: Vec<&[u64]> = values.chunk_by(|one, next| one == next).collect();
    put_int(out, runs.len() as u64);
    for run in runs {
        put_int(out, run.len() as u64);
        put_int(out, run[0]);
    }
}

fn put_text(out: &mut impl Sink, text: &str) {
    put_int(out, text.len() as u64);
    out.bytes(text.as_bytes());
}

fn put_state<S: Sink>(out: &mut S, state: &State, depth: usize) {
    match state {
        State::Nothing => out.bytes(&[0]),
        State::Int(value) => {
            out.bytes(&[1]);
            put_int(out, *value);
        }
        State::Tensors(tensors) => {
            out.bytes(&[2]);
            put_int(out, tensors.len() as u64);
            tensors.iter().for_each(|tensor| put_tensor(out, tensor));
        }
        State::Text(text) => {
            out.bytes(&[3]);
            put_text(out, text);
        }
        State::List(parts) => {
            out.bytes(&[4]);
            put_int(out, parts.len() as u64);
            at_depth(depth, || parts.iter().for_each(|part| put_state(out, part, depth + 1)));
        }
    }
}

/// The dtype by TensorFlow's number, which never changes, the shape, and the elements in
/// little-endian row-major order.
fn put_tensor(out: &mut impl Sink, tensor: &Tensor) {
    put_int(out, u64::from(tensor.dtype().tensorflow().unsigned_abs()));
    put_int(out, tensor.shape().len() as u64);
    tensor.shape().iter().for_each(|dim| put_int(out, *dim as u64));
    out.filled(tensor.layout().nbytes(), |bytes| {
        // Cannot fail, because the dtype and the size match.
        let _same = tensorferry_io::gather::rows_out::write_row(tensor, bytes);
        if cfg!(target_endian = "big") {
            swap(tensor.dtype(), bytes);
        }
    });
}

fn swap(dtype: DType, bytes: &mut [u8]) {
    let part = if matches!(dtype, DType::Complex64 | DType::Complex128) {
        dtype.size() / 2
    } else {
        dtype.size()
    };
    bytes.chunks_exact_mut(part).for_each(<[u8]>::reverse);
}

/// The bytes that are left to read.
struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8]> {
        let Some((taken, rest)) = self.bytes.split_at_checked(len) else {
            return Err(damaged("they end too early"));
        };
        self.bytes = rest;
        Ok(taken)
    }

    fn fixed(&mut self) -> Result<u64> {
        let Some((taken, rest)) = self.bytes.split_first_chunk::<8>() else {
            return Err(damaged("they end too early"));
        };
        self.bytes = rest;
        Ok(u64::from_le_bytes(*taken))
    }

    fn byte(&mut self) -> Result<u8> {
        Ok(self.take(1)?[0])
    }

    fn flag(&mut self) -> Result<bool> {
        Ok(self.byte()? != 0)
    }

    fn parts(&mut self) -> Result<Parts> {
        Ok(if self.flag()? { Parts::Contiguous } else { Parts::Strided })
    }

    fn int(&mut self) -> Result<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(damaged("a number is too long"))
    }

    /// A count of items of at least one byte each.
    fn count(&mut self) -> Result<usize> {
        let count = usize::try_from(self.int()?).unwrap_or(usize::MAX);
        if count > self.bytes.len() { Err(damaged("a length is past the end")) } else { Ok(count) }
    }

    fn ints(&mut self) -> Result<Vec<u64>> {
        collected((0..self.count()?).map(|_| self.int()))
    }

    fn runs(&mut self) -> Result<Vec<u64>> {
        let mut all = Vec::new();
        for _ in 0..self.count()? {
            let (count, value) = (self.int()?, self.int()?);
            if count.saturating_add(all.len() as u64) > MOST_SHARDS {
                return Err(damaged("there are too many shards"));
            }
            let len = all.len() + usize::try_from(count).unwrap_or(0);
            all.resize(len, value);
        }
        Ok(all)
    }

    fn text(&mut self) -> Result<String> {
        let len = self.count()?;
        String::from_utf8(self.take(len)?.to_vec()).map_err(|_| damaged("a text is not UTF-8"))
    }

    fn state(&mut self, depth: usize) -> Result<State> {
        if depth > NESTED {
            return Err(damaged("lists are nested too deep"));
        }
        Ok(match self.byte()? {
            0 => State::Nothing,
            1 => State::Int(self.int()?),
            2 => State::Tensors(collected((0..self.count()?).map(|_| self.tensor()))?),
            3 => State::Text(self.text()?),
            4 => {
                let count = self.count()?;
                State::List(at_depth(depth, || {
                    collected((0..count).map(|_| self.state(depth + 1)))
                })?)
            }
            tag => return Err(damaged(&format!("a state of kind {tag} is unknown"))),
        })
    }

    fn tensor(&mut self) -> Result<Tensor> {
        let number = i32::try_from(self.int()?).unwrap_or(-1);
        let dtype = DType::from_tensorflow(number).ok_or_else(|| damaged("a dtype is unknown"))?;
        let shape: Vec<usize> = self
            .ints()?
            .into_iter()
            .map(|dim| usize::try_from(dim).unwrap_or(usize::MAX))
            .collect();
        let bytes = tensorferry_core::Layout::contiguous(&shape, dtype.size())
            .map_err(|_| damaged("a shape is impossible"))?
            .nbytes();
        let content = self.take(bytes)?;
        let tensor = filled(dtype, &shape, |out| -> Result<()> {
            out.copy_from_slice(content);
            if cfg!(target_endian = "big") {
                swap(dtype, out);
            }
            Ok(())
        })?;
        debug_assert_eq!(tensor.byte_order(), ByteOrder::Native, "states hold native tensors");
        Ok(tensor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn saved() -> Checkpoint {
        let tensors = vec![
            Tensor::from_vec(vec![1.5_f32, -2.0], &[2, 1]).unwrap(),
            Tensor::from_vec(vec![7_i64], &[]).unwrap(),
            Tensor::from_vec(Vec::<u8>::new(), &[3, 0]).unwrap(),
        ];
        let parts = vec![
            State::Nothing,
            State::Int(u64::MAX),
            State::Tensors(tensors),
            State::Text("naïve".into()),
        ];
        Checkpoint {
            plan: Plan {
                text: "range(3) | take(2)".into(),
                hash: 0x1234_5678_9abc_def0,
                part: Part {
                    shards: 3,
                    index: 2,
                    whole: 77,
                    counts: true,
                    parts: Parts::Contiguous,
                },
            },
            seeds: vec![0, 127, 128, u64::MAX],
            epoch: Epoch(3),
            position: 1 << 40,
            progress: Progress {
                plan: 78,
                each: 10,
                drops: false,
                skipped: 12,
                rows: Some(1 << 42),
            },
            state: Some(State::List(vec![State::List(parts), State::List(Vec::new())])),
            origins: vec![
                Resharded { positions: vec![5, 6], parts: Parts::Contiguous },
                Resharded { positions: vec![1], parts: Parts::Strided },
            ],
        }
    }

    #[test]
    fn bytes_hold_all_of_a_state() {
        let read = Checkpoint::from_bytes(&saved().to_bytes()).unwrap();
        assert_eq!(read.to_bytes(), saved().to_bytes());
        assert_eq!(
            (read.plan.text.as_str(), read.seeds, read.position),
            ("range(3) | take(2)", saved().seeds, 1 << 40)
        );
        let Some(State::List(outer)) = &read.state else { panic!("not a list") };
        let parts = outer[0].list(4).unwrap();
        assert_eq!(parts[1].int().unwrap(), u64::MAX);
        let tensors = parts[2].tensors().unwrap();
        assert_eq!(tensors[0].view::<f32>().unwrap().as_slice(), Some(&[1.5, -2.0][..]));
        assert_eq!(
            (tensors[0].shape(), tensors[1].shape(), tensors[2].shape()),
            (&[2, 1][..], &[][..], &[3, 0][..])
        );
        assert!(matches!(&parts[3], State::Text(text) if text == "naïve"));
    }

    /// The bytes with one byte changed and the hash recomputed.
    fn resealed(bytes: &[u8], at: usize, byte: u8) -> Vec<u8> {
        let mut changed = bytes[..bytes.len() - 8].to_vec();
        changed[at] = byte;
        changed.extend(prng::hash(&changed).to_le_bytes());
        changed
    }

    #[test]
    fn damaged_bytes_are_an_error_and_never_a_panic() {
        let bytes = saved().to_bytes();
        for len in 0..bytes.len() {
            assert!(
                matches!(Checkpoint::from_bytes(&bytes[..len]), Err(Error::State { .. })),
                "{len} bytes"
            );
        }
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 0x10;
            assert!(
                matches!(Checkpoint::from_bytes(&changed), Err(Error::State { .. })),
                "byte {at}"
            );
        }
        // Damage that the hash does not detect: reading must end.
        for at in 0..bytes.len() - 8 {
            for byte in [0, 1, 2, 3, 4, 5, 0x7f, 0x80, 0xff] {
                match Checkpoint::from_bytes(&resealed(&bytes, at, byte)) {
                    Ok(_)
                    | Err(
                        Error::State { .. }
                        | Error::Core(tensorferry_core::Error::Allocation { .. }),
                    ) => {}
                    Err(other) => panic!("byte {at} = {byte}: {other}"),
                }
            }
        }
    }

    #[test]
    fn lists_nested_without_end_are_refused() {
        let mut deep = State::Nothing;
        for _ in 0..NESTED + 1 {
            deep = State::List(vec![deep]);
        }
        let bytes = Checkpoint { state: Some(deep), ..saved() }.to_bytes();
        assert!(matches!(Checkpoint::from_bytes(&bytes), Err(Error::State { .. })));
    }
}
