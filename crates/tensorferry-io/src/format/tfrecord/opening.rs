//! Arrays of TFRecord files: the bytes of records, or the features of Examples.

use crate::array::array::Array;
use crate::array::ragged::RaggedArray;
use crate::array::row_source::RowSource;
use crate::cancel::CancelToken;
use crate::error::{Error, Hint, Result};
use crate::format::file_format::FeatureSpec;
use crate::format::tfrecord::example;
use crate::format::tfrecord::example::{Feature, First};
use crate::format::tfrecord::index::Index;
use crate::format::tfrecord::ragged;
use crate::format::tfrecord::records::{RecordFile, Records, index};
use crate::format::tfrecord::varying::Varying;
use crate::gather::request::RowRequest;
use crate::gather::rows_out::RowsOut;
use crate::storage::mode::Mode;
use crate::storage::read_at::ReadAt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tensorferry_core::{DType, Shape, TensorSpec};

/// The columns of records.
#[derive(Debug)]
struct RecordRows {
    records: Arc<Records>,
    columns: Vec<TensorSpec>,
    /// Features of the columns. Empty if the only column has the bytes of the records.
    features: Vec<Feature>,
    /// Features that records may have, unless features were chosen. Others would be ignored
    /// silently.
    first: Option<First>,
}

impl RowSource for RecordRows {
    fn columns(&self) -> &[TensorSpec] {
        &self.columns
    }

    fn rows(&self) -> u64 {
        self.records.rows()
    }

    fn read_rows(
        &self,
        which: &[usize],
        requests: &mut [RowRequest],
        out: &mut [RowsOut<'_>],
        cancel: &CancelToken,
    ) -> Result<()> {
        if self.features.is_empty() {
            let Some(rows) = out.first_mut() else { return Ok(()) };
            return self.records.each(requests, cancel, |asked, record| {
                rows.slot(asked.slot).copy_from_slice(record);
                Ok(())
            });
        }
        self.records.each(requests, cancel, |asked, record| {
            let wanted = which
                .iter()
                .zip(out.iter_mut())
                .map(|(at, rows)| (&self.features[*at], rows.slot(asked.slot)));
            example::read(record, wanted, self.first.as_ref())
                .map_err(|wrong| example::in_record(wrong, asked.record, asked.start))
        })
    }

    fn place(&self, row: u64) -> Option<(&Path, u64)> {
        self.records.place(row)
    }
}

/// Opens TFRecord files. Examples give named arrays of their features, all or those `asked` for.
/// Other records, or any with `bytes`, give one array whose rows are the bytes of records.
///
/// # Errors
/// Those of reading; [`Error::Argument`] if records of bytes differ in length, or a feature is
/// missing or has another dtype or shape.
pub(crate) fn open(
    files: &[Arc<dyn ReadAt>],
    bytes: bool,
    asked: &[(String, Option<FeatureSpec>)],
    mode: Mode,
    cancel: &CancelToken,
) -> Result<RecordArrays> {
    let records = Arc::new(Records::open(files, mode, cancel)?);
    let paths: Arc<[PathBuf]> = files.iter().map(|file| file.name().to_owned()).collect();
    let mode = records.mode(mode);
    let first = if bytes { None } else { first_features(&records, asked)? };
    let wrong = |what: &str| Error::argument("open", format!("{}: {what}", paths[0].display()));
    let Some(first) = first else {
        if !asked.is_empty() {
            return Err(wrong("its first record is not a tf.train.Example, and has no features"));
        }
        let len = equal_len(&records)?;
        let columns = vec![TensorSpec::new(DType::UInt8, Shape::fixed(&[len]))];
        let source = Arc::new(RecordRows { records, columns, features: Vec::new(), first: None });
        return Ok(RecordArrays::Bytes(Array::new(source, 0, false, mode, paths)?));
    };
    if first.is_sequence && asked.is_empty() {
        let what = "its records are tf.train.SequenceExamples, and their feature_lists would be \
            left out. Parse the records with tf.io.parse_sequence_example, open the bytes of \
            records of one length as format tfrecord_bytes, or choose features.";
        return Err(wrong(what).with_hint(Hint::Features));
    }
    let (features, varying) = if asked.is_empty() {
        (first.features.clone(), Vec::new())
    } else {
        chosen(&first.features, asked)?
    };
    let ragged = ragged::measured(&records, varying, mode, &paths, cancel)?;
    let left_out = first.left_out.clone();
    let first = Some(first).filter(|_| asked.is_empty());
    let columns = features.iter().map(|feature| feature.spec.clone()).collect();
    let names: Vec<String> = features.iter().map(|feature| feature.name.clone()).collect();
    let source: Arc<dyn RowSource> = Arc::new(RecordRows { records, columns, features, first });
    let array = |(column, name)| {
        Ok((name, Array::new(Arc::clone(&source), column, false, mode, Arc::clone(&paths))?))
    };
    Ok(RecordArrays::Examples {
        arrays: names.into_iter().enumerate().map(array).collect::<Result<_>>()?,
        ragged,
        left_out,
    })
}

/// The requested features, with the requested dtypes and shapes, and those whose length differs.
fn chosen(
    features: &[Feature],
    asked: &[(String, Option<FeatureSpec>)],
) -> Result<(Vec<Feature>, Vec<Varying>)> {
    let wrong = |what: String| Error::argument("open", what);
    let (mut fixed, mut varying) = (Vec::new(), Vec::new());
    for (name, spec) in asked {
        if let Some(spec) = spec
            && let Some(feature) = Varying::of_spec(name, spec).map_err(wrong)?
        {
            varying.push(feature);
            continue;
        }
        let found = features.iter().find(|feature| feature.name == *name);
        fixed.push(match (found, spec) {
            (Some(found), None) => found.clone(),
            (Some(found), Some(spec)) => found.of_spec(spec).map_err(wrong)?,
            (None, Some(spec)) => Feature::absent(name, spec)
                .map_err(wrong)?
                .ok_or_else(|| wrong(no_feature(name, features)))?,
            (None, None) => return Err(wrong(no_feature(name, features))),
        });
    }
    Ok((fixed, varying))
}

fn no_feature(name: &str, features: &[Feature]) -> String {
    let names: Vec<&str> = features.iter().map(|feature| feature.name.as_str()).take(20).collect();
    format!("the first record has no feature {name:?} that can be an array; it has {names:?}")
}

/// The result of [`open`].
#[derive(Debug)]
pub(crate) enum RecordArrays {
    Bytes(Array),
    Examples {
        arrays: Vec<(String, Array)>,
        /// Features of different lengths.
        ragged: Vec<(String, RaggedArray)>,
        /// Features that are not arrays, and why.
        left_out: Vec<(String, String)>,
    },
}

/// The features of the first record, if it is an Example. If all features that are `asked` for are
/// described, the record may lack them all, or not exist.
fn first_features(
    records: &Records,
    asked: &[(String, Option<FeatureSpec>)],
) -> Result<Option<First>> {
    let described = !asked.is_empty() && asked.iter().all(|(_, spec)| spec.is_some());
    if records.rows() == 0 {
        return Ok(described.then(First::default));
    }
    let mut features = None;
    let first = [RowRequest { index: 0, slot: 0 }];
    records.each(&first, &CancelToken::default(), |_, record| {
        features = example::infer(record);
        if features.is_none() && described && example::features(record, |_, _| Ok(())).is_ok() {
            features = Some(First::default());
        }
        Ok(())
    })?;
    Ok(features)
}

/// The common length of all records.
fn equal_len(records: &Records) -> Result<usize> {
    let mut first: Option<(u64, &RecordFile)> = None;
    for file in &records.files {
        for record in 0..file.index.records() {
            let (_, len) = file.index.record(record);
            match first {
                Some((other, named)) if other != len => {
                    let (a, b) = (named.file.name().display(), file.file.name().display());
                    let what = format!(
                        "{a}: its first record has {other} bytes; {b}: record {record} has {len}. \
                        Records are the rows of an array where they are of \
                         one length, or tf.train.Examples."
                    );
                    return Err(Error::argument("open", what));
                }
                Some(_) if matches!(file.index, Index::Equal { .. }) => break,
                Some(_) => {}
                None => first = Some((len, file)),
            }
        }
    }
    Ok(first.map_or(0, |(len, _)| index(len)))
}
