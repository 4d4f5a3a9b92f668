//! A parser for the list of fields of a structured dtype.

use crate::npy_header::literal::{MAX_DEPTH, Parser, malformed, unsupported};
use crate::npy_header::record::{Field, Record};
use crate::{ByteOrder, DType, Dims, Result};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// What a field, or an element of its subarray, consists of.
enum Part {
    Leaf(usize, core::result::Result<(DType, ByteOrder), String>),
    Record(Record),
}

impl Part {
    fn size(&self) -> usize {
        match self {
            Self::Leaf(size, _) => *size,
            Self::Record(record) => record.size,
        }
    }
}

impl Parser<'_> {
    /// A list of fields.
    ///
    /// # Errors
    /// `Error::Malformed`; `Error::UnsupportedDType` if a field holds Python objects, or its size
    /// is not known.
    pub(super) fn record(&mut self, depth: usize) -> Result<Record> {
        let start = self.position();
        if depth == MAX_DEPTH {
            return Err(self.expected("fewer nested brackets"));
        }
        self.expect(b'[', "a list of fields")?;
        let mut record = Record { size: 0, fields: Vec::new() };
        while !self.eat(b']') {
            self.field(&mut record, depth)?;
            if !self.eat(b',') && self.peek() != Some(b']') {
                return Err(self.expected("a comma or the end of the fields"));
            }
        }
        let mut names: Vec<&str> = record.fields.iter().map(|field| &*field.name).collect();
        names.sort_unstable();
        match names.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(malformed(start, format!("two fields have the name {:?}", pair[0]))),
            None => Ok(record),
        }
    }

    /// One field, `(name, dtype)` or `(name, dtype, shape)`, added at the end of a record.
    fn field(&mut self, record: &mut Record, depth: usize) -> Result<()> {
        self.expect(b'(', "a field")?;
        self.peek();
        let at = self.position();
        let name = self.name()?;
        self.expect(b',', "a comma after the name")?;
        let part = self.part(depth)?;
        let mut shape = Dims::new();
        if self.eat(b',') && self.peek() != Some(b')') {
            match self.peek() {
                Some(b'(') => shape = self.tuple()?,
                _ => shape.push(self.integer()?),
            }
            self.eat(b',');
        }
        self.expect(b')', "the end of the field")?;
        let large = || malformed(at, "the record is larger than the address space");
        let mut strides = alloc::vec![0; shape.len()];
        let mut bytes = part.size();
        for (dim, stride) in shape.iter().zip(&mut strides).rev() {
            *stride = bytes;
            bytes = bytes.checked_mul(*dim).ok_or_else(large)?;
        }
        let offset = record.size;
        record.size = offset.checked_add(bytes).ok_or_else(large)?;
        isize::try_from(record.size).map_err(|_| large())?;
        let padding = matches!(&part, Part::Leaf(_, Err(code)) if code.contains('V'));
        match part {
            _ if name.is_empty() && !padding => return Err(malformed(at, "a field has no name")),
            Part::Leaf(..) if name.is_empty() => {}
            Part::Leaf(_, content) => {
                record.fields.push(Field { name, offset, shape, strides, content });
            }
            Part::Record(inner) => {
                record.fields.extend(inner.fields.into_iter().map(|field| Field {
                    name: format!("{name}.{}", field.name),
                    offset: offset + field.offset,
                    shape: shape.iter().chain(field.shape.iter()).copied().collect(),
                    strides: [&strides[..], &field.strides[..]].concat(),
                    content: field.content,
                }));
            }
        }
        Ok(())
    }

    /// A name, or the name of `(title, name)`.
    fn name(&mut self) -> Result<String> {
        if !self.eat(b'(') {
            return self.string("the name of a field").map(|name| self.text(name));
        }
        self.string("the title of a field")?;
        self.expect(b',', "a comma after the title")?;
        let name = self.string("the name of a field")?;
        self.eat(b',');
        self.expect(b')', "the end of title and name")?;
        Ok(self.text(name))
    }

    fn part(&mut self, depth: usize) -> Result<Part> {
        if self.peek() == Some(b'[') {
            return self.record(depth + 1).map(Part::Record);
        }
        let code = self.string("a dtype")?;
        let text = core::str::from_utf8(code).map_err(|_| unsupported(code))?;
        if let Some((dtype, order)) = DType::from_numpy_typestr(text) {
            return Ok(Part::Leaf(dtype.size(), Ok((dtype, order))));
        }
        let size = size(text).ok_or_else(|| unsupported(code))?;
        Ok(Part::Leaf(size, Err(text.into())))
    }
}

/// The bytes of a NumPy dtype that tensors do not have. `None` if they are unknown; of Python
/// objects, which are pickled, too.
fn size(code: &str) -> Option<usize> {
    let code = code.trim_start_matches(['<', '>', '|', '=']);
    let (kind, rest) = code.split_at_checked(1)?;
    let number = || rest.parse::<usize>().ok().filter(|_| !rest.starts_with('+'));
    match kind {
        "S" | "a" | "V" | "f" | "c" => number(),
        "U" => number()?.checked_mul(4),
        "M" | "m" => rest.starts_with('8').then_some(8),
        _ => None,
    }
}
