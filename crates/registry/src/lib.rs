//! The distribution protocol: a client with resumable, parallel transfers.
