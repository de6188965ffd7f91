//! What must not leave the pipeline as it was said: kinds of private entities, and where
//! one was.

use std::fmt;

/// A kind of private entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EntityKind {
    /// A payment card's number.
    Card,
    /// A card's security code.
    Cvv,
    /// A card's expiry date.
    Expiry,
    /// A US social security number, or its last four digits.
    Ssn,
    /// A UK national insurance number.
    Nino,
    /// A telephone number.
    Phone,
    /// An e-mail address.
    Email,
    /// A bank account's number, or a US routing number.
    Account,
    /// A UK sort code.
    SortCode,
    /// An international bank account number.
    Iban,
    /// A date of birth.
    BirthDate,
    /// Digits that may be part of one of the others.
    Digits,
}

impl EntityKind {
    /// Every kind, in the order of the contract.
    pub const ALL: [Self; 12] = [
        Self::Card,
        Self::Cvv,
        Self::Expiry,
        Self::Ssn,
        Self::Nino,
        Self::Phone,
        Self::Email,
        Self::Account,
        Self::SortCode,
        Self::Iban,
        Self::BirthDate,
        Self::Digits,
    ];

    /// The name in configuration and events.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Card => "card",
            Self::Cvv => "cvv",
            Self::Expiry => "expiry",
            Self::Ssn => "ssn",
            Self::Nino => "nino",
            Self::Phone => "phone",
            Self::Email => "email",
            Self::Account => "account",
            Self::SortCode => "sort_code",
            Self::Iban => "iban",
            Self::BirthDate => "birth_date",
            Self::Digits => "digits",
        }
    }

    /// What stands in the text instead: `[CARD]`.
    #[must_use]
    pub fn tag(self) -> &'static str {
        match self {
            Self::Card => "[CARD]",
            Self::Cvv => "[CVV]",
            Self::Expiry => "[EXPIRY]",
            Self::Ssn => "[SSN]",
            Self::Nino => "[NINO]",
            Self::Phone => "[PHONE]",
            Self::Email => "[EMAIL]",
            Self::Account => "[ACCOUNT]",
            Self::SortCode => "[SORT_CODE]",
            Self::Iban => "[IBAN]",
            Self::BirthDate => "[BIRTH_DATE]",
            Self::Digits => "[DIGITS]",
        }
    }

    /// The kind of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

impl fmt::Display for EntityKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A private entity that was taken out of a segment's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entity {
    /// What it is.
    pub kind: EntityKind,
    /// From where to where within the segment it was said, in ms; none where the
    /// transcriber gave no times.
    pub span_ms: Option<(u64, u64)>,
    /// Its first word, from 0, among the words as they were said.
    pub first_word: usize,
    /// How many words it has.
    pub words: usize,
}
