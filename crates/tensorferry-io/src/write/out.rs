//! [`Out`]: a file or object that is being written.

#[cfg(feature = "object-store")]
use crate::storage::object_store::Upload;
use crate::write::writeback::Writeback;
use std::fs::File;
use std::io::{Result, Write};

/// A file or object that is being written. Only a file can be written out of order.
#[derive(Debug)]
pub(crate) enum Out<'a> {
    File(Writeback<&'a File>),
    #[cfg(feature = "object-store")]
    Upload(&'a mut Upload),
}

impl Write for Out<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        match self {
            Self::File(file) => file.write(bytes),
            #[cfg(feature = "object-store")]
            Self::Upload(upload) => upload.write(bytes),
        }
    }

    fn flush(&mut self) -> Result<()> {
        match self {
            Self::File(file) => file.flush(),
            #[cfg(feature = "object-store")]
            Self::Upload(upload) => upload.flush(),
        }
    }
}
