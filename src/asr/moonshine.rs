//! stub
pub(super) struct Moonshine;
impl super::Backend for Moonshine {
    fn name(&self) -> &'static str {
        "moonshine"
    }
    fn about(&self) -> &'static str {
        "stub"
    }
    fn build(
        &self,
        _: &toml::Table,
        _: Option<&std::path::Path>,
    ) -> Result<std::sync::Arc<dyn super::Engine>, crate::types::BuildError> {
        Err(crate::types::BuildError::new("x", "y", "z"))
    }
}
