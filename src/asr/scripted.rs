//! temp
use super::*;
pub(super) struct Scripted;
impl Backend for Scripted {
    fn name(&self) -> &'static str {
        "scripted"
    }
    fn about(&self) -> &'static str {
        "x"
    }
    fn build(&self, _: &toml::Table, _: Option<&Path>) -> Result<Arc<dyn Engine>, BuildError> {
        Ok(Arc::new(S))
    }
}
struct S;
impl Engine for S {
    fn open(&self) -> Result<Box<dyn Transcriber>, BuildError> {
        Ok(Box::new(S))
    }
}
impl Transcriber for S {
    fn transcribe(&mut self, s: &[f32], _: SegmentKind) -> Result<Transcript, Fault> {
        Ok(Transcript {
            text: crate::types::Private(format!("heard {} ms, great", s.len() / 16)),
            language: "en",
            ..Default::default()
        })
    }
}
