//! What the verbs for containers share: from options to a request, the image of a container, the foreground.

pub mod foreground;
pub mod image;
pub mod limits;
mod mount_options;
pub mod plain;
pub mod port;
pub mod request;
pub mod row;
