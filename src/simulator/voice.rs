//! What the REST side asks of the platform behind it.
//!
//! [`rest`](super::rest) has checked the shapes; whether there is such a call, and
//! whether it is in a state for what is asked, the platform says.

use std::sync::Arc;

use bytes::Bytes;

use crate::vonage::rest_types::{
    Call, CallCreated, CallPage, CreateCall, Done, ListCalls, ModifyCall, SendDtmf, StartRecording, StreamIntoCall,
    SubscribeDtmf, TalkIntoCall,
};

/// The platform. None of these may wait: what takes time is done behind them.
pub trait Voice: Send + Sync + 'static {
    /// Starts a call.
    ///
    /// # Errors
    /// [`Refusal`].
    fn create(self: &Arc<Self>, call: CreateCall) -> Result<CallCreated, Refusal>;

    /// One page of the calls that are and were.
    fn list(&self, query: &ListCalls) -> CallPage;

    /// One leg.
    fn call(&self, uuid: &str) -> Option<Call>;

    /// Does something to a leg: hang-up, mute, transfer.
    ///
    /// # Errors
    /// [`Refusal`].
    fn modify(self: &Arc<Self>, uuid: &str, command: ModifyCall) -> Result<(), Refusal>;

    /// Plays a file into a leg; without one, stops.
    ///
    /// # Errors
    /// [`Refusal`].
    fn stream(self: &Arc<Self>, uuid: &str, stream: Option<StreamIntoCall>) -> Result<Done, Refusal>;

    /// Says a text into a leg; without one, stops.
    ///
    /// # Errors
    /// [`Refusal`].
    fn talk(self: &Arc<Self>, uuid: &str, talk: Option<TalkIntoCall>) -> Result<Done, Refusal>;

    /// Presses keys into a leg.
    ///
    /// # Errors
    /// [`Refusal`].
    fn dtmf(self: &Arc<Self>, uuid: &str, keys: SendDtmf) -> Result<Done, Refusal>;

    /// Tells the keys of a leg as they are pressed, or stops to.
    ///
    /// # Errors
    /// [`Refusal`].
    fn subscribe_dtmf(&self, uuid: &str, subscribe: Option<SubscribeDtmf>) -> Result<(), Refusal>;

    /// Records a leg.
    ///
    /// # Errors
    /// [`Refusal`].
    fn record(self: &Arc<Self>, uuid: &str, start: StartRecording) -> Result<(), Refusal>;

    /// A finished recording, by its own id: `GET /v1/files/{uuid}`.
    fn recording(&self, uuid: &str) -> Option<Bytes>;
}

/// Why the platform does not do what is asked. The texts reach the application: no
/// number or digit in them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no such leg: 404.
    #[error("there is no such call")]
    NotFound,
    /// It cannot be done to this leg, or now: 400.
    #[error("{0}")]
    BadRequest(String),
    /// It contradicts what is going on: 409.
    #[error("{0}")]
    Conflict(String),
}
