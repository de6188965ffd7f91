//! Hosts, as the addresses of services name them.

// The part of the standard library's `net` that has addresses and no sockets.
use core::net::IpAddr;

/// Whether a host, without its port, is this machine itself: `localhost`, or a loopback
/// address, with or without the brackets that an IPv6 address has in a URL. What goes there
/// leaves no machine, and needs no encryption.
#[must_use]
pub fn is_this_machine(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_looks_like_an_address_of_this_machine_is_none() {
        for here in ["localhost", "127.0.0.1", "127.9.9.9", "::1", "[::1]"] {
            assert!(is_this_machine(here), "{here}");
        }
        for there in ["", "127.example.org", "localhost.example.org", "10.0.0.1", "[::2]", "0.0.0.0"] {
            assert!(!is_this_machine(there), "{there}");
        }
    }
}
