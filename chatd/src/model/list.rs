//! Lists that come in pages.

/// Which part of a list is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PageOf {
    /// Behind this entry, as the page before named it; `None`: from the beginning.
    pub after: Option<String>,
    /// Entries at most; `None`: as many as is usual for the list.
    pub limit: Option<u32>,
}

/// A part of a list.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T> {
    /// The entries.
    pub entries: Vec<T>,
    /// Where the next page begins; `None`: this was the last.
    pub next: Option<String>,
}
