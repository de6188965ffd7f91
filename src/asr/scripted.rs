//! stub
pub(super) struct Scripted;
impl super::Backend for Scripted {
    fn name(&self) -> &'static str {
        "scripted"
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
