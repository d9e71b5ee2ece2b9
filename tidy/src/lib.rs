//! Checks of the tree: edges between crates, file and function sizes, names.
