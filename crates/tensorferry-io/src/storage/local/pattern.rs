//! Patterns of file names, with the rules of Python's `glob`.
//!
//! `*`, `?` and `[...]` match within one name, `**` matches any number of directories. Only a
//! pattern that starts with a dot matches a name that does.

use crate::error::Result;
use crate::storage::io_error::io;
use crate::storage::local::natural;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};

/// The files that match a pattern, in natural order. `None` if it is not a pattern.
///
/// # Errors
/// [`crate::error::Error::Io`] if a directory cannot be read, or no file matches.
pub(crate) fn expand(pattern: &Path) -> Result<Option<Vec<PathBuf>>> {
    if !is_magic(pattern.as_os_str()) {
        return Ok(None);
    }
    let mut found = BTreeSet::from([PathBuf::new()]);
    let mut parts = pattern.components().peekable();
    while let Some(part) = parts.next() {
        let last = parts.peek().is_none();
        found = match part {
            Component::Normal(name) if name == "**" => {
                let mut below = BTreeSet::new();
                for folder in &found {
                    descend(folder, last, &mut Vec::new(), &mut below)?;
                }
                below
            }
            Component::Normal(name) if is_magic(name) => {
                let wanted = letters(name);
                let mut matching = BTreeSet::new();
                for folder in &found {
                    matching.extend(matches(folder, &wanted, last)?);
                }
                matching
            }
            other => found
                .into_iter()
                .map(|folder| folder.join(other))
                .filter(|path| exists(path))
                .collect(),
        };
    }
    let mut found: Vec<PathBuf> = found.into_iter().collect();
    if found.is_empty() {
        let why = std::io::Error::new(ErrorKind::NotFound, unmatched(pattern));
        return Err(io("open", pattern)(why));
    }
    found.sort_by(|a, b| natural::compare(a, b));
    Ok(Some(found))
}

fn unmatched(pattern: &Path) -> String {
    let name = pattern.file_name().unwrap_or_default();
    let hidden = name.as_encoded_bytes().starts_with(b"*");
    let hidden = if hidden {
        " (names that start with a dot are matched only by a pattern that does)"
    } else {
        ""
    };
    format!("no file matches the pattern{hidden}")
}

/// Whether a name is a pattern.
pub(crate) fn is_magic(part: &OsStr) -> bool {
    part.as_encoded_bytes().iter().any(|byte| matches!(byte, b'*' | b'?' | b'['))
}

fn exists(path: &Path) -> bool {
    path.as_os_str().is_empty() || fs::symlink_metadata(path).is_ok()
}

/// The entries of a directory; empty if it is not a directory.
fn entries(folder: &Path) -> Result<Vec<fs::DirEntry>> {
    let shown = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    match fs::read_dir(shown) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Ok(Vec::new())
        }
        other => other.and_then(Iterator::collect).map_err(io("read", shown)),
    }
}

/// The matching entries of a directory; only directories unless it is the pattern's last part.
fn matches(folder: &Path, wanted: &[u32], last: bool) -> Result<Vec<PathBuf>> {
    let named = entries(folder)?.into_iter().filter(|entry| {
        let name = entry.file_name();
        (wanted.first() == Some(&DOT) || !is_hidden(&name)) && matches_name(wanted, &letters(&name))
    });
    Ok(named
        .map(|entry| folder.join(entry.file_name()))
        .filter(|path| last || path.is_dir())
        .collect())
}

/// All directories below `folder`, including itself, or all files in them if `files`. Skips hidden
/// names.
fn descend(
    folder: &Path,
    files: bool,
    above: &mut Vec<PathBuf>,
    found: &mut BTreeSet<PathBuf>,
) -> Result<()> {
    if !files {
        found.insert(folder.to_owned());
    }
    for entry in entries(folder)? {
        let path = folder.join(entry.file_name());
        if is_hidden(&entry.file_name()) {
            continue;
        }
        if !path.is_dir() {
            found.extend(files.then_some(path));
            continue;
        }
        // A symbolic link to a parent directory would cause infinite recursion.
        let link = entry.file_type().is_ok_and(|kind| kind.is_symlink());
        let place = path.canonicalize().map_err(io("read", &path))?;
        if link
            && (above.contains(&place)
                || folder.canonicalize().is_ok_and(|folder| folder.starts_with(&place)))
        {
            continue;
        }
        above.push(place);
        descend(&path, files, above, found)?;
        above.pop();
    }
    Ok(())
}

fn is_hidden(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".")
}

const DOT: u32 = '.' as u32;

/// The characters of a name. Bytes that are not UTF-8 are separate characters, as in Python.
fn letters(name: &OsStr) -> Vec<u32> {
    let mut all = Vec::with_capacity(name.len());
    for chunk in name.as_encoded_bytes().utf8_chunks() {
        all.extend(chunk.valid().chars().map(u32::from));
        all.extend(chunk.invalid().iter().map(|byte| 0xdc00 + u32::from(*byte)));
    }
    all
}

/// One part of a pattern.
enum Glyph<'a> {
    Any,
    Star,
    Letter(u32),
    Set { letters: &'a [u32], negated: bool },
}

/// The first part of a pattern, and its length in characters.
fn glyph(pattern: &[u32]) -> Option<(Glyph<'_>, usize)> {
    let first = *pattern.first()?;
    Some(match char::from_u32(first) {
        Some('*') => (Glyph::Star, 1),
        Some('?') => (Glyph::Any, 1),
        Some('[') => {
            let negated = pattern.get(1) == Some(&u32::from('!'));
            let start = 1 + usize::from(negated);
            // A bracket in first position is a member of the set.
            let from = start + usize::from(pattern.get(start) == Some(&u32::from(']')));
            let end = pattern.iter().skip(from).position(|letter| *letter == u32::from(']'));
            match end.and_then(|end| Some((pattern.get(start..from + end)?, from + end + 1))) {
                Some((letters, len)) => (Glyph::Set { letters, negated }, len),
                None => (Glyph::Letter(first), 1),
            }
        }
        _ => (Glyph::Letter(first), 1),
    })
}

impl Glyph<'_> {
    /// Whether it matches this letter. A star does not.
    fn is(&self, letter: u32) -> bool {
        match *self {
            Self::Any => true,
            Self::Star => false,
            Self::Letter(own) => own == letter,
            Self::Set { letters, negated } => in_set(letters, letter) != negated,
        }
    }
}

fn in_set(mut set: &[u32], letter: u32) -> bool {
    loop {
        let (found, rest) = match set {
            [] => return false,
            [low, dash, high, rest @ ..] if *dash == u32::from('-') => {
                ((*low..=*high).contains(&letter), rest)
            }
            [only, rest @ ..] => (*only == letter, rest),
        };
        if found {
            return true;
        }
        set = rest;
    }
}

/// Whether a name matches one part of a pattern. Only a pattern that starts with a dot matches a
/// name that does.
#[cfg(feature = "object-store")]
pub(crate) fn matches_part(pattern: &str, name: &str) -> bool {
    (pattern.starts_with('.') || !name.starts_with('.'))
        && matches_name(&letters(pattern.as_ref()), &letters(name.as_ref()))
}

/// Whether a name matches a pattern, in time proportional to the product of their lengths.
fn matches_name(mut pattern: &[u32], mut name: &[u32]) -> bool {
    // Backtracking point: after the last star, which then matches one more letter.
    let mut again: Option<(&[u32], &[u32])> = None;
    loop {
        match (glyph(pattern), name.split_first()) {
            (Some((Glyph::Star, len)), _) => {
                pattern = &pattern[len..];
                again = Some((pattern, name));
                continue;
            }
            (None, None) => return true,
            (Some((glyph, len)), Some((letter, rest))) if glyph.is(*letter) => {
                (pattern, name) = (&pattern[len..], rest);
                continue;
            }
            _ => {}
        }
        match again {
            Some((after, [_, rest @ ..])) => {
                (pattern, name) = (after, rest);
                again = Some((after, rest));
            }
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_as_fnmatch_says() {
        let matching = |pattern: &str, name: &str| {
            matches_name(&letters(pattern.as_ref()), &letters(name.as_ref()))
        };
        for (pattern, name, expected) in [
            ("*.npy", "a.npy", true),
            ("*.npy", ".npy", true), // hidden names are skipped elsewhere
            ("*.npy", "a.npz", false),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("??", "äö", true),
            ("?", "ab", false),
            ("[ab]x", "bx", true),
            ("[!ab]x", "bx", false),
            ("[!ab]x", "cx", true),
            ("[^a]", "^", true),
            ("[^a]", "b", false),
            ("[]]", "]", true),
            ("[!]]", "]", false),
            ("[a-c]", "b", true),
            ("[c-a]", "b", false),
            ("[a-]", "-", true),
            ("[-a]", "-", true),
            ("[a-c-e]", "d", false),
            ("[*]", "*", true),
            ("[[]", "[", true),
            ("[", "[", true),
            ("[ab", "[ab", true),
            ("[]", "[]", true),
            ("A", "a", false),
            ("", "", true),
            ("*", "", true),
            ("\\*", "\\x", true),
        ] {
            assert_eq!(matching(pattern, name), expected, "{pattern} {name}");
        }
        assert!(!matching(&"a*".repeat(40), &"a".repeat(39)), "and soon");
    }
}
