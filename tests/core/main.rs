//! The pure core, `sidetone::call`, attacked from outside. One binary, to link once.
//!
//! - `properties`: arbitrary input; what must hold whatever comes.
//! - `scripts`: the call scripts of `tests/calls/`; what must come out, to the millisecond.
//! - `simulation`: hundreds of legs and a failing pool on a virtual clock.
//!
//! All three hand their inputs in through [`leg::Leg`], whose [`audit::Audit`] knows
//! what a leg promises and checks every output against it.

#![expect(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod audit;
mod found;
mod leg;
mod properties;
mod scripts;
mod simulation;
mod sound;
