//! Our own REST API: its routes, who may use them, what they take and give.
//!
//! - [`Operation`]: every route, in one table
//! - [`types`]: requests and answers
//! - [`token`]: bearer tokens and their scopes
//! - [`problem`]: every error, as RFC 9457 has it
//! - [`extract`]: bodies and queries, read and checked
//! - [`openapi`]: the document, generated from the table
//! - [`ncco`]: `POST /v1/ncco/validate`
//!
//! A route is mounted by [`router`] alone, and `router` mounts [`Operation`]s alone, with
//! the scope, the bound and the errors that the table gives them. So none is without a
//! document, and none is open by mistake.

mod calls;
mod commands;
pub mod extract;
pub mod ncco;
pub mod openapi;
pub mod operation;
pub mod problem;
pub mod token;
pub mod types;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{StatusCode, Uri};
use axum::middleware::{from_fn_with_state, map_response};
use axum::routing::{MethodRouter, any};

pub use self::extract::{Checked, CheckedQuery};
pub use self::operation::Operation;
pub use self::problem::Problem;
pub use self::token::{Caller, Guard};
use super::{Gateway, health, live};

/// The API's routes, each with what `handler` gives for it: best a `match` without a
/// `_` arm, made with [`Operation::on`]. What is asked for below `/v1` and is none of them
/// is 404.
pub fn router<S: Clone + Send + Sync + 'static>(
    guard: &Guard,
    handler: impl Fn(Operation) -> MethodRouter<S>,
) -> Router<S> {
    let mut router = Router::new();
    for operation in Operation::ALL {
        let route = operation.route();
        let mut methods = handler(*operation).route_layer(DefaultBodyLimit::max(route.body_bytes_max));
        if let Some(scope) = route.scope {
            methods = methods.route_layer(from_fn_with_state((guard.clone(), scope), token::require));
        }
        router = router.route(route.path, methods);
    }
    router
        .route("/v1", any(unknown))
        .route("/v1/{*rest}", any(unknown))
        .method_not_allowed_fallback(|| async { Problem::new(StatusCode::METHOD_NOT_ALLOWED) })
        .layer(map_response(problem::shape))
}

/// What each route does.
pub(super) fn handler(operation: Operation) -> MethodRouter<Arc<Gateway>> {
    match operation {
        Operation::ListCalls => operation.on(calls::list),
        Operation::GetCall => operation.on(calls::one),
        Operation::GetTranscript => operation.on(calls::transcript),
        Operation::CreateCall => operation.on(calls::dial),
        Operation::HangUp => operation.on(commands::hang_up),
        Operation::Transfer => operation.on(commands::transfer),
        Operation::Mute => operation.on(commands::mute),
        Operation::Unmute => operation.on(commands::unmute),
        Operation::Play => operation.on(commands::play),
        Operation::Stop => operation.on(commands::stop),
        Operation::Say => operation.on(commands::say),
        Operation::PressKeys => operation.on(commands::press),
        Operation::Pause => operation.on(commands::pause),
        Operation::Resume => operation.on(commands::resume),
        Operation::ValidateNcco => operation.on(ncco::validate),
        Operation::FollowEvents => operation.on(live::follow),
        Operation::OpenApi => operation.on(openapi::serve),
        Operation::AsyncApi => operation.on(health::asyncapi),
        Operation::Schemas => operation.on(health::schemas),
    }
}

async fn unknown(uri: Uri) -> Problem {
    // The path may be a slip of the pen with a number in it; it goes to whoever sent it only.
    Problem::new(StatusCode::NOT_FOUND)
        .detail(format!("there is no {}; /v1/openapi.json has what there is", uri.path()))
}

#[cfg(test)]
mod tests;
