//! With real signatures.
