//! Traffic: public traces, and what is made up.

pub(crate) mod azure;
pub(crate) mod shared_prefix;

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use flate2::read::GzDecoder;

/// The text of a compressed file; None when it is not there.
pub(crate) fn read(path: &Path) -> io::Result<Option<String>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let mut text = String::new();
    GzDecoder::new(file).read_to_string(&mut text)?;
    Ok(Some(text))
}
