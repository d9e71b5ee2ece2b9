//! Operations on the whole root directory.
