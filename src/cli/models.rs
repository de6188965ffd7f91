//! stub
use super::Failure;
use crate::config::Config;
pub(super) fn ensure(_: &Config) -> Result<(), Failure> {
    Ok(())
}
