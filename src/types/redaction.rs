//! How much is redacted: of texts, of keys, and what a flow says of both.

/// How much is taken out of texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum RedactionMode {
    /// Nothing.
    Off,
    /// What is known to be an entity by its own form, or by what was said before it; and digits that begin as a
    /// card's number and are too many to tell of its issuer alone.
    // The default: who transcribes calls without having thought of card numbers must not
    // find them in a topic later, and text that went out cannot be called back. Not
    // `strict`, as that takes out digits on a suspicion, order numbers among them: that is
    // for their owner to ask for.
    #[default]
    Tags,
    /// That, and digits that may be part of one.
    Strict,
}

impl RedactionMode {
    /// Every mode, from the least to the most.
    pub const ALL: [Self; 3] = [Self::Off, Self::Tags, Self::Strict];

    /// The name in configuration, tokens and events.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Tags => "tags",
            Self::Strict => "strict",
        }
    }

    /// The mode of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.as_str() == name)
    }
}

/// Which keys are published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum KeyRule {
    /// All.
    Publish,
    /// The first of an entry, which is a menu's choice where nothing follows it.
    // The default: an entry is a card's number, a PIN or an order's, and which of them is
    // known only when it is whole, after its keys went out one by one. A menu's choice is
    // what most applications need; one that collects numbers asks for `publish`.
    #[default]
    Choices,
    /// None.
    Mask,
}

impl KeyRule {
    /// Every rule, from the least that is masked to the most.
    pub const ALL: [Self; 3] = [Self::Publish, Self::Choices, Self::Mask];

    /// The name in configuration and tokens.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Choices => "choices",
            Self::Mask => "mask",
        }
    }

    /// The rule of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|rule| rule.as_str() == name)
    }
}

/// What a flow says of redaction; what it leaves open is as the gateway is configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RedactionTerms {
    /// How much is taken out of texts.
    pub mode: Option<RedactionMode>,
    /// Which keys are published.
    pub keys: Option<KeyRule>,
}
