//! Directory API types.
