//! The contract on a real Apache Kafka: the one that `tests/kafka/broker` starts, or
//! the one at `KAFKA_BOOTSTRAP`. Runs only when asked for, with `SIDETONE_TEST_KAFKA=1`
//! or `KAFKA_BOOTSTRAP=host:port`, since it needs Java and Maven and takes its time.
//! `SIDETONE_TEST_KAFKA_LONG=1` gives the fault tests minutes in place of seconds.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod avro;
mod consumers;
mod contract;
mod dead_letters;
mod faults;
mod secure;
mod support;
mod topics;
