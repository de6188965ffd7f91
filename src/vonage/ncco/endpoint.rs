//! Whom a `connect` can reach, and whom a call can be made to.
//!
//! Source: `vonage-voice.md` section 1.1 (websocket) and the table of endpoints in
//! section 2. `POST /v1/calls` takes the same objects (section 5), with
//! `standard_headers` for `standardHeaders`; both spellings are read anywhere.

use crate::types::Private;
use crate::vonage::shape::{object, tagged, words};
use crate::vonage::wire::{Map, Text};

tagged! {
    /// One endpoint, chosen by `type`.
    Endpoint by "type" {
        /// A telephone.
        Phone = "phone",
        /// A user of the Client SDK.
        App = "app",
        /// Our media socket.
        Websocket = "websocket",
        /// A SIP address.
        Sip = "sip",
        /// An extension of Vonage Business Communications.
        Vbc = "vbc",
    }
}

object! {
    /// A telephone.
    Phone {
        /// E.164 without `+`: 7 to 15 digits. Required.
        number: Private<Text> = "number",
        /// Keys to press on answer: `0-9*#`, and `p` for a pause of 500 ms.
        dtmf_answer: Private<Text> = "dtmfAnswer",
        /// What the callee hears before the two are joined.
        on_answer: OnAnswer = "onAnswer",
        /// A STIR/SHAKEN identity header, for those who sign their own.
        shaken: String = "shaken",
    }
}

object! {
    /// An NCCO played to the callee before the two are joined.
    OnAnswer {
        /// URL of that NCCO. Required.
        url: String = "url",
        /// URL of what the caller hears meanwhile.
        ringback_tone: String = "ringbackTone",
    }
}

object! {
    /// A user of the Client SDK.
    App {
        /// The user's name. Required.
        user: String = "user",
    }
}

object! {
    /// A WebSocket server that hears and speaks: this gateway.
    Websocket {
        /// `ws://` or `wss://`; a query string survives, so it may carry a token. Required.
        uri: Private<String> = "uri",
        /// `audio/l16;rate=` and 8000, 16000 or 24000 (the last unconfirmed live). Required.
        content_type: String = "content-type",
        /// Custom fields of the first text message; nested values allowed; 512 bytes of
        /// JSON at most (2021; today unconfirmed). Not HTTP headers.
        headers: Private<Map> = "headers",
        /// What stands in the HTTP `Authorization` header of the handshake.
        authorization: Authorization = "authorization",
    }
}

object! {
    /// Authorization of the WebSocket handshake.
    Authorization {
        /// Who makes the header. Required.
        kind: AuthorizationKind = "type",
        /// With `custom`: the header, verbatim; 1 to 8191 printable ASCII characters.
        value: Private<String> = "value",
    }
}

words! {
    /// Who makes the `Authorization` header of the handshake.
    AuthorizationKind {
        /// Vonage: `Bearer` and the token of signed webhooks (section 4).
        Vonage = "vonage",
        /// We: the header's text is in the NCCO.
        Custom = "custom",
    }
}

object! {
    /// A SIP address: `uri`, or `user` and `domain`.
    Sip {
        /// `sip:user@host`, with `;transport=tls`, `;media=srtp` where wanted.
        uri: Private<String> = "uri",
        /// User part, with `domain`.
        user: Private<String> = "user",
        /// Domain part, with `user`.
        domain: String = "domain",
        /// Sent as `X-…` headers of the INVITE.
        headers: Private<Map> = "headers",
        /// Headers sent under their own names.
        standard_headers: StandardHeaders = "standardHeaders",
        /// The same as REST and one SDK spell it.
        standard_headers_snake: StandardHeaders = "standard_headers",
    }
}

object! {
    /// The standard SIP headers that can be set.
    StandardHeaders {
        /// RFC 7433, 256 characters at most.
        user_to_user: Private<String> = "User-to-User",
    }
}

object! {
    /// An extension of Vonage Business Communications.
    Vbc {
        /// Its digits. Required.
        extension: Private<Text> = "extension",
    }
}
