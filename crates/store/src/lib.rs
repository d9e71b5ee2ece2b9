//! Blobs, records and leases under one root directory, safe beside other processes and after a crash.
