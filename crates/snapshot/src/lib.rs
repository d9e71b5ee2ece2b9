//! Layered filesystems by name; data kept by one of the drivers. Names, parents and recovery once, not per driver.
