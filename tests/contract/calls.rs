//! One controller event of each kind, every field filled.

use serde_json::{Value, json};
use sidetone::event::Body;
use sidetone::event::body::{LedgerAccount, SentimentQuarter, SentimentTrend};
use sidetone::event::call::{
    CallAnswered, CallCapture, CallCompleted, CallFailed, CallJoined, CallListening, CallRecord, CallRecording,
    CallStarted, CallTransferred, CallUpdated, Listening, PausedSpan, RecordLeg, RecordParticipant, RecordingCopy,
};

fn map(value: Value) -> serde_json::Map<String, Value> {
    value.as_object().unwrap().clone()
}

pub(crate) fn examples() -> Vec<Body> {
    let caller = || "63f61863-4a51-4f6b-86e1-46edebcf9356".to_owned();
    let agent = || "aaaaaaaa-bbbb-cccc-dddd-0123456789ab".to_owned();
    let listener = || "1d1d1d1d-bbbb-cccc-dddd-0123456789ab".to_owned();
    let at = |second: u32| format!("2026-11-23T09:30:{second:02}.000000Z");
    let paused = || PausedSpan { from: at(20), to: Some(at(30)) };
    let recording = || CallRecording {
        recording: Some("rec-1".into()),
        url: "https://api-eu-3.vonage.com/v1/files/rec-1".into(),
        start: Some(at(1)),
        end: Some(at(50)),
        size: Some(3_136_044),
        paused: vec![paused()],
        copy: Some(Box::new(RecordingCopy {
            kept: true,
            reason: None,
            path: Some("CON-42_rec-1.wav".into()),
            bytes: Some(3_136_044),
            sha256: Some("9d2ddf3aa912e99915026c498da75aebbe8ff7e2d2f40bb8a7c1c3d939dac586".into()),
            muted: Some(1),
            muted_ms: Some(14_000),
        })),
    };
    vec![
        Body::CallStarted(CallStarted {
            at: at(0),
            direction: Some("inbound".into()),
            from: Some("447700900000".into()),
            to: Some("442079460000".into()),
            endpoint: Some("phone".into()),
            flow: Some("support".into()),
            custom: map(json!({"customer": "42"})),
        }),
        Body::CallAnswered(CallAnswered { participant: caller(), role: "caller".into(), at: at(1) }),
        Body::CallJoined(CallJoined {
            participant: caller(),
            role: "caller".into(),
            at: at(2),
            vonage_conversation: Some("CON-77".into()),
        }),
        Body::CallTransferred(CallTransferred {
            participant: caller(),
            role: "caller".into(),
            at: at(2),
            from: Some("CON-42".into()),
            to: Some("CON-77".into()),
        }),
        Body::CallListening(CallListening {
            participant: Some(caller()),
            role: "caller".into(),
            listener: Some(listener()),
            state: Listening::Separate,
            reason: None,
            at: at(3),
        }),
        Body::CallUpdated(CallUpdated {
            webhook: "status".into(),
            participant: Some(agent()),
            role: Some("agent".into()),
            status: Some("ringing".into()),
            at: at(4),
            content: map(json!({"status": "ringing", "uuid": agent()})),
        }),
        Body::CallFailed(CallFailed {
            participant: Some(agent()),
            role: "agent".into(),
            at: at(9),
            status: "busy".into(),
            detail: Some("unavailable".into()),
            sip_code: Some(486),
        }),
        Body::CallCapture(CallCapture { paused: true, at: at(20), reason: Some("card".into()) }),
        Body::CallRecording(recording()),
        Body::CallCompleted(CallCompleted {
            participant: caller(),
            role: "caller".into(),
            at: at(50),
            duration_s: Some(49.0),
            price: Some(0.0125),
            rate: Some(0.0153),
            network: Some("23410".into()),
            disconnected_by: Some("user".into()),
            sip_code: Some(200),
            source: "webhook".into(),
        }),
        Body::CallRecord(Box::new(CallRecord {
            direction: Some("inbound".into()),
            from: Some("447700900000".into()),
            to: Some("442079460000".into()),
            flow: Some("support".into()),
            started: at(0),
            answered: Some(at(1)),
            ended: at(50),
            duration_s: 50.0,
            price: 0.0125,
            participants: vec![RecordParticipant {
                participant: caller(),
                role: "caller".into(),
                address: Some("447700900000".into()),
                hears: None,
                states: [("started".into(), at(0)), ("answered".into(), at(1)), ("completed".into(), at(50))].into(),
                outcome: Some("completed".into()),
                duration_s: Some(49.0),
                price: Some(0.0125),
                disconnected_by: Some("user".into()),
            }],
            legs: vec![RecordLeg {
                leg: "9e9e9e9e-4a51-4f6b-86e1-46edebcf9356".into(),
                speaker: "caller".into(),
                participant: Some(caller()),
                reason: Some("hangup".into()),
                complete: true,
                ledger: Some(LedgerAccount {
                    rate_hz: 16_000,
                    received: 96_000,
                    transcribed: 44_160,
                    silent: 51_840,
                    paused: 0,
                    dropped: [].into(),
                }),
                finals: 1,
                sentiment: Some(SentimentTrend {
                    compound: 0.5,
                    scored_ms: 1_000,
                    quarters: vec![SentimentQuarter { compound: Some(0.5), scored_ms: 250 }; 4],
                }),
            }],
            recordings: vec![recording()],
            paused: vec![paused()],
            complete: true,
            remarks: vec!["polled".into()],
        })),
    ]
}
