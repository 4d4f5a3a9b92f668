//! `from_rows`: the rows of opened arrays.

use crate::checkpoint::change::Change;
use crate::error::Result;
use crate::gather::get_by_gather;
use crate::request::Columns;
use crate::sources::slices::{common_len, described, shareable};
use crate::spec::{Cardinality, Component};
use crate::stage::{Context, Dataset, Element, Elements, Hints, Stage};
use std::sync::Arc;
use tensorferry_core::Tensor;
use tensorferry_io::array::array::Array;
use tensorferry_io::array::row_source::RowSource;
use tensorferry_io::array::tensor_rows::Source;
use tensorferry_io::gather::request::RowRequest;
use tensorferry_io::gather::rows_out::{RowsOut, normalise};
use tensorferry_io::storage::mode::Mode;

struct OpenedRows {
    arrays: Vec<Array>,
    /// The arrays grouped by source.
    groups: Vec<Group>,
    spec: Vec<Component>,
    len: u64,
}

/// Arrays of one source, whose rows are read together: their columns and components.
struct Group {
    source: Arc<dyn RowSource>,
    columns: Vec<usize>,
    components: Vec<usize>,
}

impl Dataset {
    /// The rows of opened arrays: element `i` is row `i` of each. Nothing is read before it is
    /// needed.
    ///
    /// ```
    /// use tensorferry_core::Tensor;
    /// use tensorferry_dataset::Dataset;
    /// use tensorferry_io::{Mode, open, save_npy};
    ///
    /// let directory = tempfile::tempdir().unwrap();
    /// let path = directory.path().join("tokens.npy");
    /// save_npy(&path, &Tensor::from_vec((0_i32..10).collect(), &[10])?.as_view())?;
    ///
    /// let tokens = open(path)?.array()?;
    /// let dataset = Dataset::from_rows([tokens])?.batch(4)?;
    /// let batch = dataset.iter().next().unwrap()?;
    /// assert_eq!(batch[0].tensor()?.view::<i32>()?.as_slice(), Some(&[0, 1, 2, 3][..]));
    /// # Ok::<(), tensorferry_dataset::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Dataset::from_tensor_slices`].
    pub fn from_rows(arrays: impl IntoIterator<Item = Array>) -> Result<Self> {
        let arrays: Vec<Array> = arrays.into_iter().collect();
        // Arrays in memory are tensors.
        if let Ok(tensors) = arrays.iter().map(Array::tensor).collect::<Result<Vec<Tensor>, _>>() {
            return Self::from_tensor_slices(tensors.into_iter().map(Source::from));
        }
        let len = common_len(arrays.iter().map(Array::shape))?;
        let spec = arrays.iter().map(|array| {
            let (source, column) = array.source();
            Component::Tensor(source.columns()[column].clone())
        });
        let spec = spec.collect();
        Ok(Self::of(OpenedRows { groups: groups(&arrays), arrays, spec, len }))
    }
}

fn groups(arrays: &[Array]) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for (component, array) in arrays.iter().enumerate() {
        let (source, column) = array.source();
        let same = |group: &&mut Group| {
            Arc::ptr_eq(&group.source, source) && !group.columns.contains(&column)
        };
        match groups.iter_mut().find(same) {
            Some(group) => {
                group.columns.push(column);
                group.components.push(component);
            }
            None => groups.push(Group {
                source: Arc::clone(source),
                columns: vec![column],
                components: vec![component],
            }),
        }
    }
    groups
}

impl Stage for OpenedRows {
    fn elements(&self) -> Elements<'_> {
        Elements::Indexed(&[], &self.spec)
    }

    fn cardinality(&self) -> Cardinality {
        Cardinality::Finite(self.len)
    }

    fn describe(&self) -> String {
        described(self.len, &self.spec)
    }

    fn rebuild(&self, _inputs: Vec<Dataset>, _change: &mut Change) -> Result<Dataset> {
        Dataset::from_rows(self.arrays.clone())
    }

    fn hints(&self, inputs: Hints) -> Hints {
        let is_direct = |group: &&Group| {
            group.components.iter().any(|component| self.arrays[*component].mode() == Mode::Direct)
        };
        let is_remote = |group: &&Group| {
            group.components.iter().any(|component| self.arrays[*component].is_remote())
        };
        Hints {
            reads_files: self.arrays.iter().any(|array| array.mode() != Mode::Map),
            sequential: self.groups.iter().any(|group| group.source.is_sequential()),
            one_thread: self.groups.iter().any(|group| group.source.is_sequential()),
            direct_arrays: self.groups.iter().filter(is_direct).count(),
            remote_arrays: self.groups.iter().filter(is_remote).count(),
            ..inputs
        }
    }

    fn get(&self, index: u64, cx: &Context) -> Result<Element> {
        get_by_gather(&self.spec, index, |requests, out| {
            self.gather(Columns::All, requests, out, cx)
        })
    }

    fn slice(&self, start: u64, len: usize, _cx: &Context) -> Option<Vec<Tensor>> {
        let share = |array: &Array| {
            let (source, column) = array.source();
            shareable(source.share(column, start, len)?)
        };
        self.arrays.iter().map(share).collect()
    }

    fn gather(
        &self,
        columns: Columns<'_>,
        requests: &mut [RowRequest],
        out: &mut [RowsOut<'_>],
        cx: &Context,
    ) -> Result<()> {
        let (wanted, cancel) = (columns.indices(out.len()), cx.reading(self));
        let mut out: Vec<Option<RowsOut<'_>>> =
            out.iter_mut().map(|rows| Some(rows.reborrow())).collect();
        // One pass, unless a component is requested twice.
        while out.iter().any(Option::is_some) {
            for group in &self.groups {
                let (mut columns, mut rows) = (Vec::new(), Vec::new());
                for (component, out) in wanted.clone().zip(&mut out) {
                    if let Some(at) = group.components.iter().position(|other| *other == component)
                        && !columns.contains(&group.columns[at])
                        && let Some(taken) = out.take()
                    {
                        columns.push(group.columns[at]);
                        rows.push(taken);
                    }
                }
                if !columns.is_empty() {
                    // A source may overwrite the requests.
                    let bytes = rows.iter().map(|rows| rows.row * requests.len()).sum();
                    let read = || {
                        group.source.read_rows(&columns, &mut requests.to_vec(), &mut rows, &cancel)
                    };
                    self.arrays[group.components[0]].counting(bytes, read)?;
                    for (column, rows) in columns.iter().zip(&mut rows) {
                        normalise(group.source.columns()[*column].dtype, requests, rows);
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::checkpoint::Checkpoint;
    use crate::execute::options::Options;
    use crate::{BatchOptions, ShuffleOptions};
    use tensorferry_io::format::npy::save_npy;
    use tensorferry_io::open::open_with;

    fn opened(directory: &tempfile::TempDir, name: &str, tensor: &Tensor, mode: Mode) -> Array {
        let path = directory.path().join(name);
        save_npy(&path, &tensor.as_view()).unwrap();
        open_with(&[path], &mode.into()).unwrap().array().unwrap()
    }

    /// All elements of a dataset, as text.
    fn all(dataset: &Dataset) -> Vec<String> {
        let words = |element: Result<Element>| {
            let parts = element.unwrap().into_iter().map(|part| {
                let part = part.into_tensor().unwrap();
                format!("{:?}{:?}", part.shape(), part.as_view().as_bytes().unwrap())
            });
            parts.collect::<Vec<_>>().join(", ")
        };
        dataset.iter().map(words).collect()
    }

    #[test]
    fn rows_read_from_files_are_those_of_the_tensors() {
        let directory = tempfile::tempdir().unwrap();
        let x = Tensor::from_vec((0_u16..90).collect(), &[30, 3]).unwrap();
        let y = Tensor::from_vec((0_i64..30).collect(), &[30]).unwrap();
        let memory = Dataset::from_tensor_slices([x.clone(), y.clone()]).unwrap();
        for mode in [Mode::Map, Mode::Read] {
            let (x, y) = (opened(&directory, "x", &x, mode), opened(&directory, "y", &y, mode));
            let files = Dataset::from_rows([x, y]).unwrap();
            assert_eq!(files.to_string(), memory.to_string());
            let plans: [fn(&Dataset) -> Dataset; 4] = [
                Dataset::clone,
                |dataset| dataset.batch(7).unwrap(),
                |dataset| {
                    dataset
                        .shuffle(ShuffleOptions::seeded(3))
                        .unwrap()
                        .batch_with(7, BatchOptions::DROP_REMAINDER)
                        .unwrap()
                },
                |dataset| dataset.skip(Some(5)).repeat(Some(2)).batch(4).unwrap(),
            ];
            for plan in plans {
                assert_eq!(all(&plan(&files)), all(&plan(&memory)), "{mode}");
            }
        }
    }

    #[test]
    fn a_state_goes_on_whatever_way_the_rows_come() {
        let directory = tempfile::tempdir().unwrap();
        let y = Tensor::from_vec((0_i64..30).collect(), &[30]).unwrap();
        let plan = |mode| {
            let rows = Dataset::from_rows([opened(&directory, "y", &y, mode)]).unwrap();
            rows.shuffle(ShuffleOptions::seeded(3)).unwrap().batch(4).unwrap()
        };
        let (mapped, read) = (plan(Mode::Map), plan(Mode::Read));
        let mut begun = mapped.iter();
        begun.next();
        let saved = Checkpoint::from_bytes(&begun.checkpoint().unwrap().to_bytes()).unwrap();
        assert_eq!(read.resume(&saved, &Options::default()).unwrap().count(), 7);
        assert_eq!(all(&read), all(&mapped));
    }

    #[test]
    fn arrays_that_do_not_go_together_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let array = |name: &str, tensor: Tensor| opened(&directory, name, &tensor, Mode::Read);
        let long = array("long", Tensor::from_vec(vec![0_i8; 3], &[3]).unwrap());
        let short = array("short", Tensor::from_vec(vec![0_i8; 2], &[2]).unwrap());
        let scalar = array("scalar", Tensor::from_vec(vec![0_i8], &[]).unwrap());
        let said = |arrays: Vec<Array>| Dataset::from_rows(arrays).unwrap_err().to_string();
        assert!(said(vec![long.clone(), short]).contains("[3, 2] in component 0 and component 1"));
        assert!(said(vec![long, scalar]).contains("component 1 is a scalar"));
        assert!(said(vec![]).contains("no arrays"));
    }

    /// Row `i` is `i` squared. Counts the read calls.
    #[derive(Debug, Default)]
    struct Squares(std::sync::atomic::AtomicUsize);

    impl tensorferry_io::RowReader for Squares {
        fn read_rows(&self, rows: &[u64], out: &mut [u8]) -> tensorferry_io::Result<()> {
            self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            for (row, out) in rows.iter().zip(out.chunks_exact_mut(2)) {
                out.copy_from_slice(&u16::try_from(row * row).unwrap().to_ne_bytes());
            }
            Ok(())
        }
    }

    #[test]
    fn a_shuffle_asks_once_for_a_batch() {
        let reader = Arc::new(Squares::default());
        let array = Array::from_reader(
            tensorferry_core::DType::UInt16,
            &[100],
            Arc::clone(&reader) as Arc<dyn tensorferry_io::RowReader>,
        )
        .unwrap();
        let plan = Dataset::from_rows([array])
            .unwrap()
            .shuffle(ShuffleOptions::seeded(1))
            .unwrap()
            .batch(10)
            .unwrap();
        assert!(plan.is_sequential());
        let mut seen = Vec::new();
        for batch in plan.iter() {
            seen.extend_from_slice(
                batch.unwrap()[0].tensor().unwrap().view::<u16>().unwrap().as_slice().unwrap(),
            );
        }
        seen.sort_unstable();
        assert_eq!(seen, (0..100_u16).map(|row| row * row).collect::<Vec<_>>());
        assert_eq!(reader.0.load(std::sync::atomic::Ordering::Relaxed), 10);
    }
}
