//! Avro: schemas generated from the same types as the JSON Schemas, and the binary form.
//!
//! How a type is written: integers are `long`, numbers `double`, words of a fixed list
//! `string` (a new word must not break a reader), what may be absent a union with `null`,
//! and what has no fixed shape (the NCCO's own headers) a map of strings that hold JSON
//! where the value is no string itself.
//!
//! Compatibility is `FULL`: old readers read new records and new readers old ones. So a
//! type may only gain fields that have a default, and lose such: `null` where they may be
//! absent, an empty list where serde has that default. Anything else is a new type,
//! `…V2`, with a new name and beside the old one.

use serde_json::{Map, Value, json};

use super::{Event, schema};

/// Namespace of every record.
pub const NAMESPACE: &str = "sidetone.events";

/// What registries are told to enforce.
pub const COMPATIBILITY: &str = "FULL";

/// Full name of the record of an event type: `transcript.final.v1` is
/// `sidetone.events.TranscriptFinalV1`. Also the registry's subject, whatever the topic is
/// (Confluent's `RecordNameStrategy`), since a topic holds events of many types.
#[must_use]
pub fn record_name(kind: &str) -> String {
    format!("{NAMESPACE}.{}", camel(kind))
}

fn camel(words: &str) -> String {
    let capital = |word: &str| {
        let mut letters = word.chars();
        letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
    };
    words.split(['.', '_']).map(capital).collect()
}

/// The schema of every event type, by type, in the order of the contract.
#[must_use]
pub fn all() -> Vec<(&'static str, Value)> {
    let of = |event: schema::Documented| {
        let mut record = record(&camel(event.kind), &event.schema);
        record["namespace"] = NAMESPACE.into();
        record["doc"] = event.about.into();
        (event.kind, record)
    };
    schema::all().into_iter().map(of).collect()
}

fn record(name: &str, schema: &Value) -> Value {
    let required: Vec<_> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let empty = Map::new();
    let properties = schema["properties"].as_object().unwrap_or(&empty);
    let fields = properties.iter().map(|(field, schema)| {
        let inner = avro_type(&format!("{name}{}", camel(field)), schema);
        let default = schema.get("default").filter(|default| !default.is_null());
        let optional = is_optional(schema) || default.is_none() && !required.contains(&field.as_str());
        let mut written = json!({"name": field});
        if optional {
            written["type"] = json!(["null", inner]);
            written["default"] = Value::Null;
        } else {
            written["type"] = inner;
            if let Some(default) = default {
                written["default"] = default.clone();
            }
        }
        if let Some(doc) = schema["description"].as_str() {
            written["doc"] = doc.into();
        }
        written
    });
    json!({"type": "record", "name": name, "fields": fields.collect::<Vec<_>>()})
}

fn is_null(schema: &Value) -> bool {
    schema["type"] == "null"
}

fn is_optional(schema: &Value) -> bool {
    schema["type"].as_array().is_some_and(|types| types.iter().any(|name| name == "null"))
        || schema["anyOf"].as_array().is_some_and(|any| any.iter().any(is_null))
}

/// The type without `null`.
fn avro_type(name: &str, schema: &Value) -> Value {
    if let Some(any) = schema["anyOf"].as_array() {
        return any.iter().find(|one| !is_null(one)).map_or_else(|| json!("string"), |one| avro_type(name, one));
    }
    let kind = match &schema["type"] {
        Value::Array(types) => types.iter().find(|one| *one != "null").and_then(Value::as_str),
        one => one.as_str(),
    };
    match kind {
        Some("integer") => json!("long"),
        Some("number") => json!("double"),
        Some("boolean") => json!("boolean"),
        Some("array") => json!({"type": "array", "items": avro_type(&format!("{name}Item"), &schema["items"])}),
        Some("object") if schema["properties"].is_object() => record(name, schema),
        Some("object") => match &schema["additionalProperties"] {
            inner @ Value::Object(_) if !inner["type"].is_null() => {
                json!({"type": "map", "values": avro_type(&format!("{name}Value"), inner)})
            }
            _ => json!({"type": "map", "values": "string"}),
        },
        // Words of a list, and what has no shape.
        _ => json!("string"),
    }
}

/// Adds the binary form of an event under the schema of its type to `out`.
///
/// # Errors
/// The field that is not as the schema says.
pub fn encode(schema: &Value, event: &Event, out: &mut Vec<u8>) -> Result<(), String> {
    let data: Value = serde_json::from_slice(&event.value()).map_err(|error| error.to_string())?;
    write(schema, &data, "", out)
}

/// Zigzag, then seven bits a byte.
fn write_long(value: i64, out: &mut Vec<u8>) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

fn write_text(text: &str, out: &mut Vec<u8>) {
    write_long(text.len() as i64, out);
    out.extend_from_slice(text.as_bytes());
}

fn write(schema: &Value, data: &Value, at: &str, out: &mut Vec<u8>) -> Result<(), String> {
    let wrong = |expected: &str| Err(format!("the field {at} is not {expected}"));
    match schema {
        Value::Array(_) if data.is_null() => write_long(0, out),
        Value::Array(union) => {
            write_long(1, out);
            write(&union[1], data, at, out)?;
        }
        Value::String(name) => match name.as_str() {
            "long" => match data.as_i64() {
                Some(number) => write_long(number, out),
                None => return wrong("a whole number"),
            },
            "double" => match data.as_f64() {
                Some(number) => out.extend_from_slice(&number.to_le_bytes()),
                None => return wrong("a number"),
            },
            "boolean" => match data.as_bool() {
                Some(flag) => out.push(flag.into()),
                None => return wrong("true or false"),
            },
            _ => match data {
                Value::String(text) => write_text(text, out),
                other => write_text(&other.to_string(), out),
            },
        },
        complex => match complex["type"].as_str() {
            Some("record") => {
                for field in complex["fields"].as_array().into_iter().flatten() {
                    let name = field["name"].as_str().unwrap_or_default();
                    write(&field["type"], data.get(name).unwrap_or(&Value::Null), name, out)?;
                }
            }
            Some("array") => {
                let Some(items) = data.as_array() else { return wrong("a list") };
                if !items.is_empty() {
                    write_long(items.len() as i64, out);
                    items.iter().try_for_each(|item| write(&complex["items"], item, at, out))?;
                }
                write_long(0, out);
            }
            _ => {
                let Some(entries) = data.as_object() else { return wrong("a table") };
                if !entries.is_empty() {
                    write_long(entries.len() as i64, out);
                    for (name, value) in entries {
                        write_text(name, out);
                        write(&complex["values"], value, at, out)?;
                    }
                }
                write_long(0, out);
            }
        },
    }
    Ok(())
}

/// Data from its binary form. Strings that hold JSON in a map without shape stay strings.
///
/// # Errors
/// That it ends too early or is not of this schema.
pub fn decode(schema: &Value, mut bytes: &[u8]) -> Result<Value, String> {
    let value = read(schema, &mut bytes)?;
    if bytes.is_empty() { Ok(value) } else { Err(format!("{} bytes are left over", bytes.len())) }
}

fn take<'a>(bytes: &mut &'a [u8], count: usize) -> Result<&'a [u8], String> {
    let (taken, rest) = bytes.split_at_checked(count).ok_or("it ends too early")?;
    *bytes = rest;
    Ok(taken)
}

fn read_long(bytes: &mut &[u8]) -> Result<i64, String> {
    let mut all = 0_u64;
    for shift in (0..64).step_by(7) {
        let byte = take(bytes, 1)?[0];
        all |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok((all >> 1) as i64 ^ -((all & 1) as i64));
        }
    }
    Err("a number is too long".to_owned())
}

fn read_text(bytes: &mut &[u8]) -> Result<String, String> {
    let length = usize::try_from(read_long(bytes)?).map_err(|_| "a length is negative")?;
    String::from_utf8(take(bytes, length)?.to_vec()).map_err(|_| "text is not UTF-8".to_owned())
}

/// Calls `item` for each item of an array or map.
fn read_blocks(bytes: &mut &[u8], mut item: impl FnMut(&mut &[u8]) -> Result<(), String>) -> Result<(), String> {
    loop {
        let count = read_long(bytes)?;
        if count < 0 {
            // With the block's size, which who reads all of it need not know.
            read_long(bytes)?;
        }
        // An item has at least one byte in all of our schemas: what is claimed is bounded.
        if count == 0 || count.unsigned_abs() > bytes.len() as u64 {
            return if count == 0 { Ok(()) } else { Err("it ends too early".to_owned()) };
        }
        (0..count.unsigned_abs()).try_for_each(|_| item(bytes))?;
    }
}

fn read(schema: &Value, bytes: &mut &[u8]) -> Result<Value, String> {
    Ok(match schema {
        Value::Array(union) => {
            let branch = usize::try_from(read_long(bytes)?).ok().and_then(|branch| union.get(branch));
            read(branch.ok_or("a union has no such branch")?, bytes)?
        }
        Value::String(name) => match name.as_str() {
            "null" => Value::Null,
            "long" => read_long(bytes)?.into(),
            "double" => f64::from_le_bytes(take(bytes, 8)?.try_into().map_err(|_| "it ends too early")?).into(),
            "boolean" => (take(bytes, 1)?[0] != 0).into(),
            "string" => read_text(bytes)?.into(),
            other => return Err(format!("type {other} is not used here")),
        },
        complex => match complex["type"].as_str() {
            Some("record") => {
                let mut fields = Map::new();
                for field in complex["fields"].as_array().into_iter().flatten() {
                    let name = field["name"].as_str().unwrap_or_default();
                    fields.insert(name.to_owned(), read(&field["type"], bytes)?);
                }
                fields.into()
            }
            Some("array") => {
                let mut items = Vec::new();
                read_blocks(bytes, |bytes| {
                    items.push(read(&complex["items"], bytes)?);
                    Ok(())
                })?;
                items.into()
            }
            Some("map") => {
                let mut entries = Map::new();
                read_blocks(bytes, |bytes| {
                    let name = read_text(bytes)?;
                    entries.insert(name, read(&complex["values"], bytes)?);
                    Ok(())
                })?;
                entries.into()
            }
            _ => return Err("a schema that is not ours".to_owned()),
        },
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert_eq, proptest};

    use super::*;

    #[test]
    fn every_example_survives_and_reads_back_as_an_event() {
        let schemas = all();
        let examples = include_str!("../../deploy/events/examples.jsonl");
        for line in examples.lines().filter(|line| !line.is_empty()) {
            let event = crate::event::read::structured(line.as_bytes()).unwrap();
            let (_, schema) = schemas.iter().find(|(kind, _)| *kind == event.body.kind()).unwrap();
            let mut bytes = Vec::new();
            encode(schema, &event, &mut bytes).unwrap_or_else(|error| panic!("{error}: {line}"));
            let data = decode(schema, &bytes).unwrap();
            let whole: Value = serde_json::from_str(line).unwrap();
            for (name, value) in whole["data"].as_object().unwrap() {
                let same = &data[name] == value || (value.is_number() && data[name].as_f64() == value.as_f64());
                assert!(same || value.is_object() || value.is_array(), "{name} of {line}: {}", data[name]);
            }
            for cut in 0..bytes.len() {
                assert!(decode(schema, &bytes[..cut]).is_err(), "{cut} of {} bytes were taken", bytes.len());
            }
        }
    }

    #[test]
    fn a_final_from_before_there_were_entities_is_read_as_having_none() {
        let examples = include_str!("../../deploy/events/examples.jsonl");
        let line = examples.lines().find(|line| line.contains("\"entities\"")).unwrap();
        let event = crate::event::read::structured(line.as_bytes()).unwrap();
        let body_of = |event: &Event| match &event.body {
            crate::event::Body::TranscriptFinal(body) => body.clone(),
            _ => panic!("{line}"),
        };
        let mut expected = body_of(&event);
        assert!(!std::mem::take(&mut expected.entities).is_empty());

        let (_, new) = all().into_iter().find(|(kind, _)| *kind == event.body.kind()).unwrap();
        let mut old = new.clone();
        let fields = old["fields"].as_array_mut().unwrap();
        let place = fields.iter().position(|field| field["name"] == "entities").unwrap();
        // A reader with today's schema has this in place of what it does not find.
        assert_eq!(fields.remove(place)["default"], json!([]));
        let mut bytes = Vec::new();
        encode(&old, &event, &mut bytes).unwrap();
        let mut whole: Value = serde_json::from_str(line).unwrap();
        whole["data"] = decode(&old, &bytes).unwrap();
        let read = crate::event::read::structured(whole.to_string().as_bytes()).unwrap();
        assert_eq!(body_of(&read).entities, expected.entities);
        assert_eq!((body_of(&read).text, body_of(&read).timing), (expected.text, expected.timing));
    }

    #[test]
    fn names_are_legal_and_unique() {
        fn names(schema: &Value, into: &mut Vec<String>) {
            match schema {
                Value::Array(union) => union.iter().for_each(|one| names(one, into)),
                Value::Object(complex) => {
                    if complex["type"] == "record" {
                        into.push(complex["name"].as_str().unwrap().to_owned());
                    }
                    for field in complex.get("fields").and_then(Value::as_array).into_iter().flatten() {
                        names(&field["type"], into);
                    }
                    [complex.get("items"), complex.get("values")]
                        .into_iter()
                        .flatten()
                        .for_each(|one| names(one, into));
                }
                _ => {}
            }
        }
        assert_eq!(record_name("transcript.final.v1"), "sidetone.events.TranscriptFinalV1");
        let mut all_names = Vec::new();
        all().iter().for_each(|(_, schema)| names(schema, &mut all_names));
        let count = all_names.len();
        assert!(all_names.iter().all(|name| name.bytes().all(|b| b.is_ascii_alphanumeric())));
        all_names.sort();
        all_names.dedup();
        assert_eq!(all_names.len(), count);
    }

    proptest! {
        #[test]
        fn numbers_survive(number in any::<i64>()) {
            let mut out = Vec::new();
            write_long(number, &mut out);
            prop_assert_eq!(read_long(&mut out.as_slice()), Ok(number));
        }

        #[test]
        fn no_bytes_whatsoever_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            for (_, schema) in all() {
                let _ = decode(&schema, &bytes);
            }
        }
    }
}
