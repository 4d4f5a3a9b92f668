//! A parser for the Python dict literal of a `.npy` header.

use super::record::Record;
use crate::{ByteOrder, DType, Dims, Error, Result};
use alloc::format;
use alloc::string::String;

/// The deepest nesting of brackets in a structured dtype.
pub(super) const MAX_DEPTH: usize = 32;
/// The most characters of an unsupported dtype that an error shows.
const MAX_SHOWN: usize = 80;

/// The format's name in errors.
pub(super) const FORMAT: &str = "npy";

/// The three entries of the dict.
pub(super) struct Fields {
    pub(super) descr: Descr,
    pub(super) fortran: bool,
    /// Its offset and its value.
    pub(super) shape: (usize, Dims),
}

/// The dtype of an array.
pub(super) enum Descr {
    Plain(DType, ByteOrder),
    Structured(Record),
}

pub(super) fn malformed(offset: usize, what: impl Into<String>) -> Error {
    Error::Malformed { format: FORMAT, offset: offset as u64, what: what.into() }
}

/// Parses from `at` to the end of `bytes`. Offsets in errors count from the start of `bytes`.
pub(super) struct Parser<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Whether integers may end in `L`, as Python 2 writes them in versions 1.0 and 2.0.
    long_suffix: bool,
    /// Whether structured dtypes are read. Otherwise they are an error that names them.
    structured: bool,
}

impl<'a> Parser<'a> {
    pub(super) fn new(bytes: &'a [u8], at: usize, long_suffix: bool, structured: bool) -> Self {
        Self { bytes, at, long_suffix, structured }
    }

    pub(super) fn position(&self) -> usize {
        self.at
    }

    /// A string of the header, which is Latin-1 before version 3.0, and then UTF-8.
    pub(super) fn text(&self, bytes: &[u8]) -> String {
        match self.long_suffix {
            true => bytes.iter().map(|&byte| char::from(byte)).collect(),
            false => String::from_utf8_lossy(bytes).into_owned(),
        }
    }

    /// The whole header: a dict with exactly the three keys, followed only by spaces.
    pub(super) fn fields(mut self) -> Result<Fields> {
        let start = self.at;
        let (mut descr, mut fortran, mut shape) = (None, None, None);
        self.expect(b'{', "a dict")?;
        while !self.eat(b'}') {
            let at = self.at;
            let key = self.string("a key")?;
            self.expect(b':', "a colon after the key")?;
            let twice = match key {
                b"descr" => descr.replace(self.descr()?).is_some(),
                b"fortran_order" => fortran.replace(self.boolean()?).is_some(),
                b"shape" => shape.replace((self.at, self.tuple()?)).is_some(),
                _ => return Err(malformed(at, "the key is not descr, fortran_order or shape")),
            };
            if twice {
                return Err(malformed(at, "the key is a duplicate"));
            }
            if !self.eat(b',') && self.peek() != Some(b'}') {
                return Err(self.expected("a comma or the end of the dict"));
            }
        }
        if self.peek().is_some() {
            return Err(self.expected("nothing after the dict"));
        }
        let missing = |key| move || malformed(start, format!("the key {key} is missing"));
        Ok(Fields {
            descr: descr.ok_or_else(missing("descr"))?,
            fortran: fortran.ok_or_else(missing("fortran_order"))?,
            shape: shape.ok_or_else(missing("shape"))?,
        })
    }

    pub(super) fn expected(&self, what: &str) -> Error {
        let found = match self.bytes.get(self.at) {
            Some(&byte) => format!("{:?}", char::from(byte)),
            None => String::from("the end of the header"),
        };
        malformed(self.at, format!("expected {what}, found {found}"))
    }

    /// Skips spaces; the next byte, which is not consumed.
    pub(super) fn peek(&mut self) -> Option<u8> {
        while let Some(b' ' | b'\t' | b'\n' | b'\r' | b'\x0c') = self.bytes.get(self.at) {
            self.at += 1;
        }
        self.bytes.get(self.at).copied()
    }

    pub(super) fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    pub(super) fn expect(&mut self, byte: u8, what: &str) -> Result<()> {
        if self.eat(byte) { Ok(()) } else { Err(self.expected(what)) }
    }

    /// A string without escapes, which no key and no supported dtype needs.
    pub(super) fn string(&mut self, what: &str) -> Result<&'a [u8]> {
        self.peek();
        let prefixed = matches!(self.bytes.get(self.at..), Some([b'u', b'\'' | b'"', ..]));
        self.at += usize::from(prefixed);
        let Some(quote @ (b'\'' | b'"')) = self.bytes.get(self.at).copied() else {
            return Err(self.expected(what));
        };
        self.at += 1;
        let start = self.at;
        while let Some(&byte) = self.bytes.get(self.at) {
            match byte {
                b'\\' | b'\n' | b'\r' => return Err(self.expected("a plain string")),
                byte if byte == quote => {
                    self.at += 1;
                    return Ok(&self.bytes[start..self.at - 1]);
                }
                _ => self.at += 1,
            }
        }
        Err(self.expected("the end of the string"))
    }

    fn descr(&mut self) -> Result<Descr> {
        match self.peek() {
            Some(b'[') if self.structured => return self.record(0).map(Descr::Structured),
            Some(b'[' | b'(') => return Err(self.refused()),
            _ => {}
        }
        let descr = self.string("a dtype")?;
        let known = core::str::from_utf8(descr).ok().and_then(DType::from_numpy_typestr);
        known.map(|(dtype, order)| Descr::Plain(dtype, order)).ok_or_else(|| unsupported(descr))
    }

    /// The error for a structured dtype, which names it.
    fn refused(&mut self) -> Error {
        let (start, mut depth) = (self.at, 0);
        while let Some(byte) = self.peek() {
            match byte {
                b'\'' | b'"' => {
                    if let Err(error) = self.string("a string") {
                        return error;
                    }
                    continue;
                }
                b'[' | b'(' if depth == MAX_DEPTH => {
                    return self.expected("fewer nested brackets");
                }
                b'[' | b'(' => depth += 1,
                b']' | b')' => depth -= 1,
                _ => {}
            }
            self.at += 1;
            if depth == 0 {
                return unsupported(&self.bytes[start..self.at]);
            }
        }
        self.expected("the end of the dtype")
    }

    fn boolean(&mut self) -> Result<bool> {
        self.peek();
        for (text, value) in [("True", true), ("False", false)] {
            let rest = self.bytes.get(self.at..).unwrap_or(&[]);
            if let Some(rest) = rest.strip_prefix(text.as_bytes())
                && !rest.first().is_some_and(u8::is_ascii_alphanumeric)
            {
                self.at += text.len();
                return Ok(value);
            }
        }
        Err(self.expected("True or False"))
    }

    pub(super) fn tuple(&mut self) -> Result<Dims> {
        self.expect(b'(', "a tuple")?;
        let mut dims = Dims::new();
        let mut comma = false;
        while !self.eat(b')') {
            if !dims.is_empty() && !comma {
                return Err(self.expected("a comma or the end of the tuple"));
            }
            dims.push(self.integer()?);
            comma = self.eat(b',');
        }
        // In Python, (3) is a number, not a tuple.
        if dims.len() == 1 && !comma {
            Err(malformed(self.at - 1, "a tuple of one length needs a comma"))
        } else {
            Ok(dims)
        }
    }

    pub(super) fn integer(&mut self) -> Result<usize> {
        if self.peek() == Some(b'-') {
            return Err(self.expected("a non-negative length"));
        }
        let start = self.at;
        let mut value = 0_usize;
        while let Some(digit @ b'0'..=b'9') = self.bytes.get(self.at).copied() {
            let next = value
                .checked_mul(10)
                .and_then(|value| value.checked_add(usize::from(digit - b'0')));
            value = next
                .ok_or_else(|| malformed(start, "the length is larger than the address space"))?;
            self.at += 1;
        }
        match &self.bytes[start..self.at] {
            [] => return Err(self.expected("a length")),
            [b'0', rest @ ..] if rest.iter().any(|&digit| digit != b'0') => {
                return Err(malformed(start, "the length starts with 0"));
            }
            _ => {}
        }
        if self.long_suffix && self.bytes.get(self.at) == Some(&b'L') {
            self.at += 1;
        }
        Ok(value)
    }
}

pub(super) fn unsupported(descr: &[u8]) -> Error {
    let text = String::from_utf8_lossy(descr);
    let mut shown: String = text.chars().take(MAX_SHOWN).collect();
    if shown.len() < text.len() {
        shown.push_str("...");
    }
    Error::UnsupportedDType { place: "npy header", descr: format!("'{shown}'") }
}
