//! Every endpoint of the Voice REST API, typed.
//!
//! Source: `vonage-voice.md` section 5. `region` is the `region_url` of the call's
//! webhooks, or any other base; one that we do not trust is as good as none. Every
//! method fails with [`RestError`] alone.

use reqwest::Method;

use super::client::{Client, Request};
use super::retry::Repeat;
use super::{Pages, RestError};
use crate::types::Private;
use crate::vonage::ncco::Ncco;
use crate::vonage::rest_types::{
    Call, CallCommand, CallCreated, CallPage, CreateCall, Done, ListCalls, ModifyCall, SendDtmf, StartRecording,
    StreamIntoCall, SubscribeDtmf, TalkIntoCall,
};
use crate::vonage::wire::{Map, Wire};

/// A request about a call.
fn about<'a>(method: Method, path: &'a [&'a str], body: Option<&dyn Body>) -> Request<'a> {
    Request { method, path, query: &[], body: body.map(Body::json), repeat: Repeat::Idempotent, sweep: true }
}

/// What can be sent.
trait Body {
    fn json(&self) -> Vec<u8>;
}

impl<T: Wire> Body for T {
    fn json(&self) -> Vec<u8> {
        self.to_wire().to_string().into_bytes()
    }
}

#[allow(clippy::missing_errors_doc, reason = "said once, above")]
impl Client {
    /// `POST /v1/calls`: calls someone. Tried again only where it certainly was not
    /// done; whether the failed one may have been is
    /// [`RestError::may_be_done`]. A socket leg that shall join a conversation belongs
    /// in that conversation's region.
    pub async fn create_call(&self, call: &CreateCall, region: Option<&str>) -> Result<CallCreated, RestError> {
        let request =
            Request { repeat: Repeat::Once, sweep: false, ..about(Method::POST, &["v1", "calls"], Some(call)) };
        self.send(request, region, "an object with the new call").await
    }

    /// `GET /v1/calls`: one page of calls.
    pub async fn list_calls(&self, list: &ListCalls, region: Option<&str>) -> Result<CallPage, RestError> {
        let query = list.query();
        let request = Request { query: &query, sweep: false, ..about(Method::GET, &["v1", "calls"], None) };
        self.send(request, region, "an object with a page of calls").await
    }

    /// All pages of a list, from `list.record_index` on.
    #[must_use]
    pub fn pages(&self, list: ListCalls, region: Option<&str>) -> Pages {
        Pages::new(self.clone(), list, region.map(str::to_owned))
    }

    /// `GET /v1/calls/{uuid}`: what is known of a leg.
    pub async fn call(&self, leg: &str, region: Option<&str>) -> Result<Call, RestError> {
        self.send(about(Method::GET, &["v1", "calls", leg], None), region, "an object with the call").await
    }

    /// `PUT /v1/calls/{uuid}`: does something to a leg. A hang-up that comes too early
    /// for Vonage is tried again.
    pub async fn modify(&self, leg: &str, change: &ModifyCall, region: Option<&str>) -> Result<(), RestError> {
        let hang_up = change.action.get() == Some(&CallCommand::Hangup);
        let repeat = if hang_up { Repeat::HangUp } else { Repeat::Idempotent };
        let path = ["v1", "calls", leg];
        let request = Request { repeat, ..about(Method::PUT, &path, Some(change)) };
        // Vonage answers 204; what else a success holds is of no use.
        self.send::<serde_json::Value>(request, region, "nothing, or JSON").await.map(|_| ())
    }

    /// Ends a leg; done too where there is none any more.
    pub async fn hang_up(&self, leg: &str, region: Option<&str>) -> Result<(), RestError> {
        match self.modify(leg, &ModifyCall::command(CallCommand::Hangup), region).await {
            Err(RestError::NotFound { .. }) => Ok(()),
            result => result,
        }
    }

    /// Others no longer hear the leg.
    pub async fn mute(&self, leg: &str, region: Option<&str>) -> Result<(), RestError> {
        self.modify(leg, &ModifyCall::command(CallCommand::Mute), region).await
    }

    /// Others hear the leg again.
    pub async fn unmute(&self, leg: &str, region: Option<&str>) -> Result<(), RestError> {
        self.modify(leg, &ModifyCall::command(CallCommand::Unmute), region).await
    }

    /// The leg no longer hears others.
    pub async fn earmuff(&self, leg: &str, region: Option<&str>) -> Result<(), RestError> {
        self.modify(leg, &ModifyCall::command(CallCommand::Earmuff), region).await
    }

    /// The leg hears others again.
    pub async fn unearmuff(&self, leg: &str, region: Option<&str>) -> Result<(), RestError> {
        self.modify(leg, &ModifyCall::command(CallCommand::Unearmuff), region).await
    }

    /// The leg goes on with this NCCO.
    pub async fn transfer(&self, leg: &str, ncco: Ncco, region: Option<&str>) -> Result<(), RestError> {
        self.modify(leg, &ModifyCall::transfer(ncco), region).await
    }

    /// The leg goes on with the NCCO at this URL.
    pub async fn transfer_to(&self, leg: &str, url: &str, region: Option<&str>) -> Result<(), RestError> {
        self.modify(leg, &ModifyCall::transfer_to(url), region).await
    }

    /// `PUT /v1/calls/{uuid}/stream`: plays a file into a leg.
    pub async fn stream(&self, leg: &str, what: &StreamIntoCall, region: Option<&str>) -> Result<Done, RestError> {
        self.send(about(Method::PUT, &["v1", "calls", leg, "stream"], Some(what)), region, DONE).await
    }

    /// `DELETE /v1/calls/{uuid}/stream`: stops the file.
    pub async fn stop_stream(&self, leg: &str, region: Option<&str>) -> Result<Done, RestError> {
        self.send(about(Method::DELETE, &["v1", "calls", leg, "stream"], None), region, DONE).await
    }

    /// `PUT /v1/calls/{uuid}/talk`: says a text into a leg.
    pub async fn talk(&self, leg: &str, what: &TalkIntoCall, region: Option<&str>) -> Result<Done, RestError> {
        self.send(about(Method::PUT, &["v1", "calls", leg, "talk"], Some(what)), region, DONE).await
    }

    /// `DELETE /v1/calls/{uuid}/talk`: stops the text.
    pub async fn stop_talk(&self, leg: &str, region: Option<&str>) -> Result<Done, RestError> {
        self.send(about(Method::DELETE, &["v1", "calls", leg, "talk"], None), region, DONE).await
    }

    /// `PUT /v1/calls/{uuid}/dtmf`: presses keys. Though a `PUT`, twice is not once.
    pub async fn send_dtmf(&self, leg: &str, digits: Private<String>, region: Option<&str>) -> Result<Done, RestError> {
        let body = SendDtmf { digits: digits.into(), ..Default::default() };
        let path = ["v1", "calls", leg, "dtmf"];
        let request = Request { repeat: Repeat::Once, ..about(Method::PUT, &path, Some(&body)) };
        self.send(request, region, DONE).await
    }

    /// `PUT /v1/calls/{uuid}/input/dtmf`: one webhook to `event_url` for each key from now on.
    pub async fn subscribe_dtmf(&self, leg: &str, event_url: &str, region: Option<&str>) -> Result<Done, RestError> {
        let body = SubscribeDtmf { event_url: event_url.into(), ..Default::default() };
        self.send(about(Method::PUT, &["v1", "calls", leg, "input", "dtmf"], Some(&body)), region, DONE).await
    }

    /// `DELETE /v1/calls/{uuid}/input/dtmf`: no more of them.
    pub async fn unsubscribe_dtmf(&self, leg: &str, region: Option<&str>) -> Result<Done, RestError> {
        self.send(about(Method::DELETE, &["v1", "calls", leg, "input", "dtmf"], None), region, DONE).await
    }

    /// `POST /v1/legs/{uuid}/recording`: records a leg. Seen in samples only, so the
    /// answer is given as it came; the recording is told of by webhook.
    pub async fn start_recording(
        &self,
        leg: &str,
        how: &StartRecording,
        region: Option<&str>,
    ) -> Result<Private<Map>, RestError> {
        let path = ["v1", "legs", leg, "recording"];
        let request = Request { repeat: Repeat::Once, ..about(Method::POST, &path, Some(how)) };
        self.send(request, region, "an object").await
    }
}

/// What stream, talk and DTMF are answered with.
const DONE: &str = "an object with a message";
