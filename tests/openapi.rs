//! Our API's contract as a file: `deploy/openapi.json` must say what the route table says.
//!
//! `UPDATE_EXPECT=1 cargo test --test openapi` rewrites the file; the change is then seen
//! in review.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::path::Path;

use sidetone::server::api::openapi;

#[test]
fn the_openapi_document_is_that_of_the_routes() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/openapi.json");
    let generated = serde_json::to_string_pretty(&openapi::document()).unwrap() + "\n";
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(&path, &generated).unwrap();
    }
    assert!(
        fs::read_to_string(&path).unwrap_or_default() == generated,
        "{} does not say what the routes say; if the change is meant: UPDATE_EXPECT=1 cargo test --test openapi",
        path.display()
    );
}
