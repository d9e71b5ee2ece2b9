//! Filesystem changes as a stream of entries: tar in, tar out, directories, diffs, whiteouts, EROFS index.
