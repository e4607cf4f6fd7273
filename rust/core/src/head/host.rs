//! The Host header: a name or an address, and a port or none (RFC 3986, 3.2.2; RFC 9110, 7.2).

/// Digits that a port may have.
const PORT_DIGITS: usize = 5;

/// Whether a value is of the form.
pub(super) fn is_well_formed(value: &[u8]) -> bool {
    let end = match value {
        [b'[', rest @ ..] => rest
            .iter()
            .position(|byte| *byte == b']')
            .map(|end| end + 2),
        _ => value.iter().position(|byte| *byte == b':'),
    };
    let (host, port) = value.split_at(end.unwrap_or(value.len()).min(value.len()));
    let named = match host {
        [b'[', address @ .., b']'] => {
            !address.is_empty() && address.iter().copied().all(is_of_address)
        }
        name => !name.is_empty() && name.iter().copied().all(is_of_name),
    };
    named
        && match port {
            [] => true,
            [b':', digits @ ..] => {
                digits.len() <= PORT_DIGITS && digits.iter().all(u8::is_ascii_digit)
            }
            _ => false,
        }
}

const fn is_of_address(byte: u8) -> bool {
    byte.is_ascii_hexdigit() || matches!(byte, b'v' | b'V' | b'.' | b':')
}

fn is_of_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_.~!$&'()*+,;=%-".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_that_are_well_formed() {
        for host in [
            "a",
            "a:",
            "a:80",
            "a_b-c.d~:12345",
            "[::1]",
            "[::1]:80",
            "[v1.a]",
            "%41",
            "10.0.0.1:1",
        ] {
            assert!(is_well_formed(host.as_bytes()), "{host}");
        }
    }

    #[test]
    fn hosts_that_are_not() {
        for host in [
            "", ":80", "a:123456", "a:8x", "a b", "a/b", "[]", "[::1", "[::1]x", "[g]", "a@b",
            "a:1:2", "]", "[",
        ] {
            assert!(!is_well_formed(host.as_bytes()), "{host}");
        }
    }
}
