//! A schema registry over Confluent's HTTP API.

use std::time::Duration;

use base64::Engine as _;
use serde_json::{Value, json};

use crate::config::KafkaSink as Settings;
use crate::event::avro;
use crate::http::{BodyError, body as body_of};

/// Longest wait for an answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Longest answer taken, in bytes.
const ANSWER_MAX: usize = 1 << 20;

/// Asks a registry, and waits for its answers.
pub struct Registry {
    url: String,
    authorization: Option<String>,
    client: reqwest::Client,
    runtime: tokio::runtime::Runtime,
}

impl Registry {
    /// Asks nothing yet.
    ///
    /// # Errors
    /// That the password's file cannot be read.
    pub fn new(settings: &Settings) -> Result<Self, String> {
        let registry = &settings.registry;
        let password = registry.password.reveal().0;
        let pair = format!("{}:{password}", registry.user);
        let authorization = (!registry.user.is_empty())
            .then(|| format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair)));
        let client = reqwest::Client::builder().timeout(TIMEOUT).build().map_err(|error| error.to_string())?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let url = registry.url.trim_end_matches('/').to_owned();
        Ok(Self { url, authorization, client, runtime: runtime.map_err(|error| error.to_string())? })
    }

    /// The id under which the registry knows a schema; `None` when it does not.
    ///
    /// # Errors
    /// Why it cannot be known, and the remedy.
    pub fn find(&self, kind: &str, schema: &Value) -> Result<Option<u32>, String> {
        let subject = avro::record_name(kind);
        let body = json!({"schema": schema.to_string(), "schemaType": "AVRO"});
        match self.ask(reqwest::Method::POST, &format!("subjects/{subject}"), Some(&body))? {
            (200, answer) => Ok(Some(id(&answer)?)),
            (404, _) => Ok(None),
            (status, answer) => Err(self.refused(&subject, status, &answer)),
        }
    }

    /// Makes a schema known under the rules for compatibility; its id.
    ///
    /// # Errors
    /// That it is not compatible with an earlier one, or why it could not be told.
    pub fn register(&self, kind: &str, schema: &Value) -> Result<u32, String> {
        let subject = avro::record_name(kind);
        let body = json!({"schema": schema.to_string(), "schemaType": "AVRO"});
        let registered = match self.ask(reqwest::Method::POST, &format!("subjects/{subject}/versions"), Some(&body))? {
            (200, answer) => id(&answer),
            (409, _) => Err(format!("schema {subject} is not compatible with the one that is registered")),
            (status, answer) => Err(self.refused(&subject, status, &answer)),
        }?;
        let rules = json!({"compatibility": avro::COMPATIBILITY});
        match self.ask(reqwest::Method::PUT, &format!("config/{subject}"), Some(&rules))? {
            (200, _) => Ok(registered),
            (status, answer) => Err(self.refused(&subject, status, &answer)),
        }
    }

    /// The schema with an id.
    ///
    /// # Errors
    /// That there is none, or why it cannot be known.
    pub fn schema(&self, id: u32) -> Result<Value, String> {
        match self.ask(reqwest::Method::GET, &format!("schemas/ids/{id}"), None)? {
            (200, answer) => answer["schema"]
                .as_str()
                .and_then(|text| serde_json::from_str(text).ok())
                .ok_or_else(|| format!("the registry's schema {id} is no JSON")),
            (404, _) => Err(format!("the registry at {} knows no schema {id}", self.url)),
            (status, answer) => Err(self.refused(&id.to_string(), status, &answer)),
        }
    }

    fn refused(&self, what: &str, status: u16, answer: &Value) -> String {
        let why = answer["message"].as_str().unwrap_or("");
        match status {
            401 | 403 => format!(
                "the registry at {} wants another user or password; see sink.kafka.registry.user and .password",
                self.url
            ),
            _ => format!("the registry at {} answers {status} to {what}: {why}", self.url),
        }
    }

    fn ask(&self, method: reqwest::Method, path: &str, body: Option<&Value>) -> Result<(u16, Value), String> {
        let mut request = self.client.request(method, format!("{}/{path}", self.url));
        request = request.header("accept", "application/vnd.schemaregistry.v1+json, application/json");
        if let Some(authorization) = &self.authorization {
            request = request.header("authorization", authorization);
        }
        if let Some(body) = body {
            request = request.header("content-type", "application/vnd.schemaregistry.v1+json").body(body.to_string());
        }
        let answered = self.runtime.block_on(async {
            let response = request.send().await?;
            let status = response.status().as_u16();
            let bytes = match body_of(response, ANSWER_MAX).await {
                Ok(bytes) => bytes,
                Err(BodyError::TooLong) => Vec::new(),
                Err(BodyError::Broken(error)) => return Err(error),
            };
            Ok((status, serde_json::from_slice(&bytes).unwrap_or_default()))
        });
        answered.map_err(|error: reqwest::Error| {
            let url = &self.url;
            let error = error.without_url();
            format!("no schema registry answers at {url} ({error}); check sink.kafka.registry.url and that it runs")
        })
    }
}

fn id(answer: &Value) -> Result<u32, String> {
    let id = answer["id"].as_u64().and_then(|id| u32::try_from(id).ok());
    id.ok_or_else(|| "the schema registry's answer has no id".to_owned())
}
