//! [`Mark`]: what tells one state of an object from another.

use object_store::ObjectMeta;

/// The state of an object: its entity tag, or else its length and the time of its last change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    len: u64,
    tag: Option<String>,
    modified: i64,
}

impl Mark {
    pub(super) fn of(meta: &ObjectMeta) -> Self {
        Self {
            len: meta.size,
            tag: meta.e_tag.clone(),
            modified: meta.last_modified.timestamp_micros(),
        }
    }

    /// Length in bytes.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// The condition of a request, which a weak tag cannot be.
    pub(super) fn if_match(&self) -> Option<String> {
        self.tag.clone().filter(|tag| !tag.starts_with("W/"))
    }

    /// Whether an answer is of this state.
    pub(super) fn is_of(&self, meta: &ObjectMeta) -> bool {
        self.len == meta.size
            && match (&self.tag, &meta.e_tag) {
                (Some(ours), Some(theirs)) => ours == theirs,
                _ => self.modified == meta.last_modified.timestamp_micros(),
            }
    }

    /// The state as text.
    pub(super) fn text(&self) -> String {
        match &self.tag {
            Some(tag) => format!("{}-{tag}", self.len),
            None => format!("{}-{}", self.len, self.modified),
        }
    }
}
