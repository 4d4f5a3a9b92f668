//! [`ObjectWriter`]: an object that is written step by step.

use crate::error::Result;
use crate::storage::url::Url;
use crate::write::destination::WriteOptions;

#[cfg(feature = "object-store")]
pub use with_stores::ObjectWriter;
#[cfg(not(feature = "object-store"))]
pub use without_stores::ObjectWriter;

#[cfg(feature = "object-store")]
mod with_stores {
    use super::{Result, Url, WriteOptions};
    use crate::error::Error;
    use crate::storage::object_store::Upload;
    use std::io;
    use std::io::Write;

    /// An object that is written step by step, whose first bytes are known last. It exists once
    /// [`ObjectWriter::finish`] has returned. One that is dropped before leaves nothing behind.
    #[derive(Debug)]
    pub struct ObjectWriter(Upload);

    impl ObjectWriter {
        /// Begins an object of about `bytes` bytes, which is written at the same time as others:
        /// `together` share the memory of an upload, but each takes that of four parts.
        ///
        /// # Errors
        /// [`Error::Argument`] for wrong options, and for the URL of a web server; [`Error::Io`]
        /// for a URL that names no object; [`tensorferry_core::Error::Allocation`].
        pub fn create(
            url: &Url,
            options: &WriteOptions,
            bytes: u64,
            together: usize,
        ) -> Result<Self> {
            let WriteOptions { storage, replace, cancel } = options;
            let upload = Upload::new(url, storage, *replace == Some(true), bytes, cancel)?;
            Ok(Self(upload.first_last().sharing(together)))
        }

        /// Writes bytes after those that were written.
        ///
        /// # Errors
        /// [`Error::Io`]; [`Error::Interrupted`].
        pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
            let unknown = || Error::argument("save", "the upload failed before");
            self.0.write_all(bytes).map_err(|_: io::Error| self.0.failure().unwrap_or_else(unknown))
        }

        /// Replaces the first bytes, of which there must be as many, and no more than 5 MiB.
        pub fn rewrite_start(&mut self, bytes: &[u8]) {
            self.0.rewrite_start(bytes);
        }

        /// Makes the object appear.
        ///
        /// # Errors
        /// [`Error::Io`]; [`Error::Interrupted`].
        pub fn finish(self) -> Result<()> {
            self.0.finish()
        }
    }
}

#[cfg(not(feature = "object-store"))]
mod without_stores {
    use super::{Result, Url, WriteOptions};

    /// An object that is written step by step. This build knows no stores: there are none.
    #[derive(Debug)]
    pub enum ObjectWriter {}

    impl ObjectWriter {
        /// # Errors
        /// Always.
        pub fn create(url: &Url, _: &WriteOptions, _: u64, _: usize) -> Result<Self> {
            Err(crate::storage::place::without(url))
        }

        /// # Errors
        /// None.
        pub fn write(&mut self, _bytes: &[u8]) -> Result<()> {
            match *self {}
        }

        /// Does nothing.
        pub fn rewrite_start(&mut self, _bytes: &[u8]) {
            match *self {}
        }

        /// # Errors
        /// None.
        pub fn finish(self) -> Result<()> {
            match self {}
        }
    }
}
