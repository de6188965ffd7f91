//! `sidetone events`: the contract, as generated from the types.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde_json::{Map, Value};

use super::Done;
use crate::event::{avro, schema};

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Which document
    #[arg(value_enum, default_value = "asyncapi")]
    document: Document,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Document {
    /// AsyncAPI 3.0, everything in one
    Asyncapi,
    /// One JSON Schema for each event, by type
    Schemas,
    /// One Avro schema for each event, by type
    Avro,
}

pub(super) fn run(options: &Options) -> Done {
    let document = match options.document {
        Document::Asyncapi => schema::asyncapi(),
        Document::Schemas => {
            Value::Object(schema::all().into_iter().map(|e| (e.kind.to_owned(), e.schema)).collect::<Map<_, _>>())
        }
        Document::Avro => Value::Object(
            avro::all().into_iter().map(|(kind, schema)| (kind.to_owned(), schema)).collect::<Map<_, _>>(),
        ),
    };
    writeln!(io::stdout(), "{}", serde_json::to_string_pretty(&document)?)?;
    Ok(ExitCode::SUCCESS)
}
