//! The OpenAPI 3.1 document of our API, generated from the table that mounts it.

use axum::Json;
use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::operation::{Operation, Route, SchemaOf};
use super::problem::{self, Problem};
use super::token::Scope;

/// Where schemas are in the document.
const SCHEMAS: &str = "/components/schemas";

/// `GET /v1/openapi.json`. Needs no state.
pub async fn serve() -> Json<Value> {
    Json(document())
}

/// The document.
#[must_use]
pub fn document() -> Value {
    let mut schemas = Schemas::new();
    let mut paths = Map::new();
    for operation in Operation::ALL {
        let route = operation.route();
        let described = describe(*operation, &route, &mut schemas);
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        path[route.verb.as_str()] = described;
    }
    let problem = schemas.of_answer(of::<Problem>());
    let scopes: String = Scope::ALL.iter().map(|scope| format!("\n- `{}`", scope.as_str())).collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Sidetone API",
            "version": "1",
            "description": "Calls of a contact centre: listed, read and controlled. Within version 1 things are added, never removed or changed; leave aside what you do not know."
        },
        "servers": [{"url": "/"}],
        "security": [{"bearer": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"bearer": {
                "type": "http",
                "scheme": "bearer",
                "description": format!("A token of the gateway's configuration. Each operation says which scope it needs:{scopes}")
            }},
            "responses": {"Problem": {
                "description": "What is wrong.",
                "content": {problem::MEDIA_TYPE: {"schema": problem}}
            }},
            "schemas": schemas.take()
        }
    })
}

fn of<T: JsonSchema>() -> SchemaOf {
    SchemaGenerator::subschema_for::<T>
}

fn describe(operation: Operation, route: &Route, schemas: &mut Schemas) -> Value {
    let mut described = json!({"operationId": operation.id(), "tags": [route.tag], "summary": route.summary});
    if let Some(scope) = route.scope {
        described["description"] = format!("Needs the scope `{}`.", scope.as_str()).into();
        described["security"] = json!([{"bearer": [scope.as_str()]}]);
    } else {
        described["security"] = json!([]);
    }
    let parameters = parameters(route);
    if !parameters.is_empty() {
        described["parameters"] = parameters.into();
    }
    if !route.takes.is_empty() {
        let content: Map<_, _> = route
            .takes
            .iter()
            .map(|takes| {
                let schema = takes.schema.map(|schema| json!({"schema": schemas.of_request(schema)}));
                (takes.media_type.to_owned(), schema.unwrap_or_else(|| json!({})))
            })
            .collect();
        let about = format!("At most {} bytes.", route.body_bytes_max);
        let required = !route.takes.iter().all(|takes| takes.optional);
        described["requestBody"] = json!({"description": about, "required": required, "content": content});
    }
    let mut answers = Map::new();
    let mut success = json!({"description": route.gives.about});
    if let Some((media_type, schema)) = route.gives.body {
        let schema = schema.map(|schema| json!({"schema": schemas.of_answer(schema)}));
        success["content"] = json!({media_type: schema.unwrap_or_else(|| json!({}))});
    }
    answers.insert(route.gives.status.to_string(), success);
    for status in errors(route) {
        answers.insert(status.to_string(), json!({"$ref": "#/components/responses/Problem"}));
    }
    described["responses"] = answers.into();
    described
}

/// The statuses of a route's errors, in order.
fn errors(route: &Route) -> Vec<u16> {
    let mut all = route.errors.to_vec();
    if route.scope.is_some() {
        all.extend([401, 403]);
    }
    if route.path.contains("{id}") {
        all.push(404);
    }
    if route.query.is_some() {
        all.push(422);
    }
    if !route.takes.is_empty() {
        all.extend([400, 413, 415, 422]);
    }
    all.sort_unstable();
    all.dedup();
    all
}

/// The parameters in path and query.
fn parameters(route: &Route) -> Vec<Value> {
    let mut all = Vec::new();
    if route.path.contains("{id}") {
        all.push(json!({"name": "id", "in": "path", "required": true, "description": "The call.", "schema": {"type": "string"}}));
    }
    let Some(query) = route.query else { return all };
    let mut settings = SchemaSettings::draft2020_12().for_deserialize();
    settings.inline_subschemas = true;
    let schema = query(&mut settings.into_generator()).to_value();
    let required = |name: &str| schema["required"].as_array().is_some_and(|all| all.contains(&name.into()));
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let mut property = property.clone();
        let about = property.as_object_mut().and_then(|property| property.shift_remove("description"));
        plain(&mut property);
        all.push(
            json!({"name": name, "in": "query", "required": required(name), "description": about, "schema": property}),
        );
    }
    all
}

/// Takes out of a schema that a value may be `null` or is by default: a parameter is left
/// out instead.
fn plain(schema: &mut Value) {
    let Some(object) = schema.as_object_mut() else { return };
    object.shift_remove("default");
    if let Some(Value::Array(types)) = object.get_mut("type") {
        types.retain(|kind| kind != "null");
        if let [only] = &types[..] {
            let only = only.clone();
            object.insert("type".into(), only);
        }
    }
    if let Some(Value::Array(any)) = object.shift_remove("anyOf") {
        let given = any.into_iter().find(|schema| schema["type"] != "null");
        if let Some(Value::Object(given)) = given {
            object.extend(given);
        }
    }
}

/// The schemas that the document refers to. Requests and answers are written differently
/// where a field has a default.
struct Schemas {
    requests: SchemaGenerator,
    answers: SchemaGenerator,
}

impl Schemas {
    fn new() -> Self {
        let settings = || {
            let mut settings = SchemaSettings::draft2020_12();
            settings.definitions_path = SCHEMAS.into();
            // A member that may be left out is not `null` by default: it is not there.
            settings.with_transform(RecursiveTransform(|schema: &mut Schema| {
                if schema.get("default").is_some_and(Value::is_null) {
                    schema.remove("default");
                }
            }))
        };
        Self {
            requests: settings().for_deserialize().into_generator(),
            answers: settings().for_serialize().into_generator(),
        }
    }

    fn of_request(&mut self, schema: SchemaOf) -> Value {
        schema(&mut self.requests).to_value()
    }

    fn of_answer(&mut self, schema: SchemaOf) -> Value {
        schema(&mut self.answers).to_value()
    }

    /// All of them, by name. One that is both is that of the answers; a test says that
    /// they are equal.
    fn take(mut self) -> Map<String, Value> {
        let mut all = self.requests.take_definitions(true);
        all.extend(self.answers.take_definitions(true));
        all.sort_keys();
        all
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn refs<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
        match value {
            Value::Object(object) => {
                found.extend(object.get("$ref").and_then(Value::as_str));
                object.values().for_each(|value| refs(value, found));
            }
            Value::Array(all) => all.iter().for_each(|value| refs(value, found)),
            _ => {}
        }
    }

    #[test]
    fn everything_referred_to_is_there_and_everything_there_is_referred_to() {
        let document = document();
        let mut found = Vec::new();
        refs(&document, &mut found);
        assert!(found.len() > 20, "{found:?}");
        for reference in &found {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
        for name in document["components"]["schemas"].as_object().unwrap().keys() {
            assert!(found.contains(&format!("#{SCHEMAS}/{name}").as_str()), "{name} is not referred to");
        }
    }

    #[test]
    fn no_name_stands_for_two_schemas_and_no_id_for_two_routes() {
        let mut schemas = Schemas::new();
        let mut ids = HashSet::new();
        for operation in Operation::ALL {
            assert!(ids.insert(operation.id()), "{}", operation.id());
            describe(*operation, &operation.route(), &mut schemas);
        }
        let answers = schemas.answers.take_definitions(true);
        for (name, schema) in schemas.requests.take_definitions(true) {
            assert!(answers.get(&name).is_none_or(|other| *other == schema), "{name}");
        }
    }

    #[test]
    fn what_is_private_has_its_own_schema_and_bounds() {
        let document = document();
        let schemas = &document["components"]["schemas"];
        assert_eq!(schemas["PressKeys"]["properties"]["digits"]["pattern"], "^[0-9*#p]{1,64}$");
        assert_eq!(schemas["Say"]["properties"]["text"]["maxLength"], 1500);
        assert!(!document.to_string().contains("Private") && !document.to_string().contains("\"default\":null"));
    }

    #[test]
    fn parameters_of_a_query_are_plain() {
        let all = parameters(&Operation::ListCalls.route());
        let limit = all.iter().find(|parameter| parameter["name"] == "limit").unwrap();
        assert_eq!(limit["schema"]["type"], "integer");
        assert_eq!((&limit["schema"]["maximum"], &limit["required"]), (&json!(500), &json!(false)));
        let status = all.iter().find(|parameter| parameter["name"] == "status").unwrap();
        assert!(!status.to_string().contains("null") && status.to_string().contains("ringing"), "{status}");
    }
}
