//! How librdkafka is set up, and what its complaints mean: cause and remedy in one line.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::Metadata;

use super::flag::Flag;
use crate::config::{KafkaSink as Settings, is_secret};

/// Longest wait for a broker's word on topics.
pub(super) const METADATA_TIMEOUT: Duration = Duration::from_secs(5);

/// Log lines and complaints looked at between two questions.
const POLLS: usize = 100;

const GAPLESS: &str = "enable.gapless.guarantee";

/// Properties of a producer that we set before the user's own.
const PRODUCER: [(&str, &str); 8] = [
    ("enable.idempotence", "true"),
    // At the first refusal the producer stops, and another one begins with what was refused;
    // else what is in flight behind it is sent again without it, and arrives before it.
    (GAPLESS, "true"),
    ("acks", "all"),
    // No time limit: an event is either acknowledged, refused, or still ours.
    ("message.timeout.ms", "0"),
    ("linger.ms", "5"),
    ("compression.type", "zstd"),
    ("queue.buffering.max.messages", "100000"),
    ("queue.buffering.max.kbytes", "65536"),
];

/// A producer's configuration: ours, then the user's properties.
///
/// # Errors
/// The property whose file cannot be read.
pub fn producer_config(settings: &Settings) -> Result<ClientConfig, String> {
    let mut config = config(settings, &PRODUCER)?;
    let of_user = |name| settings.properties.get(name);
    if of_user("enable.idempotence") == Some("false") && of_user(GAPLESS).is_none() {
        // The one is not to be had without the other.
        config.remove(GAPLESS);
    }
    Ok(config)
}

/// The configuration of a client that produces nothing.
pub(super) fn plain_config(settings: &Settings) -> Result<ClientConfig, String> {
    let mut config = config(settings, &[])?;
    config.set("group.id", "sidetone").set("enable.auto.commit", "false");
    Ok(config)
}

fn config(settings: &Settings, ours: &[(&str, &str)]) -> Result<ClientConfig, String> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &settings.bootstrap).set("client.id", "sidetone");
    for (name, value) in ours {
        config.set(*name, *value);
    }
    for (name, value) in settings.properties.revealed()? {
        config.set(name, value);
    }
    Ok(config)
}

/// Makes a client.
///
/// # Errors
/// Names the property that librdkafka does not take.
pub(super) fn create<C: ClientContext, T: FromClientConfigAndContext<C>>(
    config: &ClientConfig,
    context: C,
) -> Result<T, String> {
    config.create_with_context(context).map_err(|error| match error {
        // Its own text shows the value.
        KafkaError::ClientConfig(_, problem, key, value) => {
            let value = if is_secret(&key) { "[secret]".to_owned() } else { format!("{value:?}") };
            let problem = if is_secret(&key) { "it is not taken".to_owned() } else { problem };
            format!("sink.kafka.properties.{key} is {value}: {problem}; mend or remove it")
        }
        other => format!("sink.kafka: {other}; mend sink.kafka.properties"),
    })
}

/// How a broker treats a client that speaks another protocol than its port.
const HUNG_UP: &str = "it hung up at the first question";

/// Remembers the most telling of a client's complaints, and whether there is one.
#[derive(Default)]
pub(super) struct Complaints(Mutex<Option<(u8, String)>>, Flag);

impl Complaints {
    pub(super) fn add(&self, error: &KafkaError, reason: &str, settings: &Settings) {
        // No code that can panic runs under this lock.
        let mut worst = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (rank, text) = explain(error.rdkafka_error_code(), reason, settings);
        if worst.as_ref().is_none_or(|(before, _)| *before <= rank) {
            *worst = Some((rank, text));
            self.1.set(true);
        }
    }

    /// Takes from the log what comes as no complaint: a port that wants TLS hangs up on the
    /// first question that is put to it in the clear.
    pub(super) fn hear(&self, line: &str, settings: &Settings) {
        if line.contains("in state APIVERSION_QUERY") && line.contains("connection closed by peer") {
            self.add(
                &KafkaError::Global(RDKafkaErrorCode::BrokerTransportFailure),
                &format!("{HUNG_UP}: {line}"),
                settings,
            );
        }
    }

    pub(super) fn say(&self, text: String) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((u8::MAX, text));
        self.1.set(true);
    }

    pub(super) fn forget(&self) {
        // Asked at every acknowledgement.
        if self.1.take() {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }

    /// The worst, if it is more than that no broker answers at the moment.
    fn telling(&self) -> Option<String> {
        let worst = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        worst.as_ref().filter(|(rank, _)| *rank > 2).map(|(_, text)| text.clone())
    }

    pub(super) fn worst(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(|(_, text)| text.clone())
    }
}

/// What a complaint means and what helps, with how much it tells: of several the highest counts.
fn explain(code: Option<RDKafkaErrorCode>, reason: &str, settings: &Settings) -> (u8, String) {
    use RDKafkaErrorCode as Code;
    let Settings { bootstrap, properties, .. } = settings;
    let protocol = properties.get("security.protocol").unwrap_or("plaintext");
    let has = |words: &[&str]| words.iter().any(|word| reason.contains(word));
    // How long it took differs each time, and is no news.
    let detail = reason.rsplit_once(" (after ").map_or(reason, |(detail, _)| detail).trim();
    match code {
        Some(Code::Authentication | Code::SaslAuthenticationFailed) if has(&["mechanism"]) && has(&["nsupported"]) => {
            (9, format!("the broker does not offer the SASL mechanism; set sasl.mechanism ({detail})"))
        }
        Some(Code::Authentication | Code::SaslAuthenticationFailed) => (
            9,
            format!(
                "wrong user name or password: the broker refuses them; check sasl.mechanism, sasl.username and \
                 sasl.password in sink.kafka.properties ({detail})"
            ),
        ),
        // It is told as a lost connection where the other side closed it first.
        Some(Code::SSL | Code::BrokerTransportFailure)
            if has(&["PLAINTEXT broker listener", "wrong version", "packet length"]) =>
        {
            (
                8,
                format!(
                    "TLS was spoken to a port without TLS; check the port in sink.kafka.bootstrap, or security.protocol, which is {protocol} ({detail})"
                ),
            )
        }
        Some(Code::SSL) if has(&["hostname", "IP address mismatch"]) => (
            8,
            format!(
                "the broker's certificate is for another name than the one in sink.kafka.bootstrap; \
                 use the name in the certificate ({detail})"
            ),
        ),
        Some(Code::SSL) if has(&["certificate required", "bad certificate"]) => (
            8,
            format!(
                "the broker asks for a client certificate; set ssl.certificate.location and ssl.key.location ({detail})"
            ),
        ),
        Some(Code::SSL) if has(&["certificate", "issuer", "self-signed", "self signed", "unknown ca"]) => (
            8,
            format!(
                "unknown CA: the broker's certificate is signed by none that is trusted here; set ssl.ca.location in \
                 sink.kafka.properties to the CA's certificate ({detail})"
            ),
        ),
        Some(Code::SSL) => (7, format!("no TLS connection ({detail})")),
        Some(Code::Resolve) => {
            (6, format!("a broker's name is unknown here; check sink.kafka.bootstrap, which is {bootstrap} ({detail})"))
        }
        Some(Code::BrokerTransportFailure)
            if has(&[HUNG_UP, "security.protocol", "SSL listener", "require SSL", "incorrect"]) =>
        {
            (
                5,
                format!(
                    "the broker closes the connection: perhaps its port wants TLS or SASL; check security.protocol, \
                     which is {protocol} ({detail})"
                ),
            )
        }
        Some(Code::AllBrokersDown) => (1, unreachable(bootstrap, detail)),
        Some(Code::BrokerTransportFailure | Code::OperationTimedOut | Code::RequestTimedOut) => {
            (2, unreachable(bootstrap, detail))
        }
        Some(Code::TopicAuthorizationFailed | Code::ClusterAuthorizationFailed | Code::GroupAuthorizationFailed) => (
            4,
            format!(
                "no authorisation: the broker lets this user do nothing here; grant it Write on a topic ({detail})"
            ),
        ),
        _ => (0, detail.to_owned()),
    }
}

fn unreachable(bootstrap: &str, detail: &str) -> String {
    format!(
        "no Kafka broker answers at {bootstrap} ({detail}); check sink.kafka.bootstrap, that the broker runs, and that \
         its advertised listeners can be reached from here"
    )
}

/// A client that only asks.
pub(super) struct Asking {
    client: BaseConsumer<AskContext>,
    settings: Settings,
}

pub(super) struct AskContext {
    complaints: Complaints,
    settings: Settings,
}

impl ClientContext for AskContext {
    fn log(&self, _: RDKafkaLogLevel, _: &str, line: &str) {
        self.complaints.hear(line, &self.settings);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.complaints.add(&error, reason, &self.settings);
    }
}

impl ConsumerContext for AskContext {}

impl AskContext {
    pub(super) fn new(settings: &Settings) -> Self {
        Self { complaints: Complaints::default(), settings: settings.clone() }
    }

    /// The worst complaint, if it is more than that no broker answers at the moment.
    pub(super) fn telling(&self) -> Option<String> {
        self.complaints.telling()
    }
}

impl Asking {
    pub(super) fn new(settings: &Settings) -> Result<Self, String> {
        let client = create(&plain_config(settings)?, AskContext::new(settings))?;
        Ok(Self { client, settings: settings.clone() })
    }

    /// A broker's word on one topic, or on all.
    ///
    /// # Errors
    /// Why no broker answers, and the remedy.
    pub(super) fn metadata(&self, topic: Option<&str>) -> Result<Metadata, String> {
        let until = Instant::now() + METADATA_TIMEOUT;
        loop {
            // A consumer's question creates no topic. Short waits, since complaints come only between them.
            let answer = self.client.fetch_metadata(topic, Duration::from_millis(500));
            let error = match answer {
                Ok(metadata) => return Ok(metadata),
                Err(error) => error,
            };
            // A poll ends with the first line of log, which comes before the complaint itself.
            (0..POLLS).for_each(|_| drop(self.client.poll(Duration::ZERO)));
            let complaints = &self.client.context().complaints;
            if complaints.telling().is_some() || Instant::now() >= until {
                let rest = || unreachable(&self.settings.bootstrap, &error.to_string());
                return Err(complaints.worst().unwrap_or_else(rest));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_property_that_is_not_taken_is_named_and_a_secret_one_not_shown() {
        for (name, value, expected) in [
            ("no.such.thing", "1", "sink.kafka.properties.no.such.thing is \"1\": No such configuration property"),
            ("acks", "some", "sink.kafka.properties.acks is \"some\": Invalid value"),
            ("no.such.password", "hunter2", "sink.kafka.properties.no.such.password is [secret]: it is not taken"),
        ] {
            let mut settings = Settings { bootstrap: "x:1".into(), ..Settings::default() };
            settings.properties.set(name, value);
            let made: Result<BaseConsumer, _> =
                create(&config(&settings, &[]).unwrap(), rdkafka::consumer::DefaultConsumerContext);
            let Err(problem) = made else { panic!("{name} was taken") };
            assert!(problem.starts_with(expected), "{problem}");
            assert!(!problem.contains("hunter2"), "{problem}");
        }
    }

    #[test]
    fn the_telling_complaint_outlives_the_general_one() {
        let settings = Settings::default();
        let complaints = Complaints::default();
        let global = |code| KafkaError::Global(code);
        complaints.add(&global(RDKafkaErrorCode::BrokerTransportFailure), "Connection refused", &settings);
        complaints.add(&global(RDKafkaErrorCode::Authentication), "Authentication failed", &settings);
        complaints.add(&global(RDKafkaErrorCode::AllBrokersDown), "1/1 brokers are down", &settings);
        assert!(complaints.worst().unwrap().starts_with("wrong user name or password"));
        complaints.forget();
        assert_eq!(complaints.worst(), None);
    }
}
