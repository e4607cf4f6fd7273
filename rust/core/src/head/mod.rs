//! A request's head: the few headers that the router itself reads, in one walk over all of them.
//!
//! Names are in lower case, as ASGI has them.

mod host;
mod length;
mod name;

pub use length::LengthFault;
pub use name::{Named, uuid};

/// The caller's trace id for the log.
const TRACE_ID: &[u8] = b"x_bd_logid";

/// Routers that a request may pass before this one.
const MAX_HOPS: usize = 8;

/// Versions of HTTP that need no host, as granian writes them and as ASGI does.
const WITHOUT_HOST: [&str; 3] = ["1", "1.0", "0.9"];

/// What the router reads of a head.
#[derive(Debug, Default, PartialEq)]
pub struct Head {
    /// Why a server must not act on it, although it could be read.
    ///
    /// It has no host, two or a malformed one (RFC 9112, 3.2), or its body is coded for transfer in any way but once in
    /// chunks (RFC 9112, 6.1): another server on the way may see another request in it. Two things are not seen here.
    /// granian puts an empty host where there is none, so both count as missing; and it hands on no `content-length` that
    /// stands beside a `transfer-encoding`: it goes by the latter and closes the connection.
    pub fault: Option<&'static str>,
    /// The announced length of the body in bytes, None if there is none.
    pub length: Option<u64>,
    /// Why it cannot be known.
    pub length_fault: Option<LengthFault>,
    /// The body is coded for transfer.
    pub chunked: bool,
    /// What the body is compressed with, or encoded otherwise (RFC 9110, 8.4), in lower case.
    pub coding: Option<Vec<u8>>,
    /// The caller's trace id, if it is not empty.
    pub trace: Option<String>,
    /// What names the request.
    pub named: Named,
    /// The client waits to be asked for the body (RFC 9110, 10.1.1).
    waits: bool,
    /// The ids of routers that sent it.
    hops: Vec<Vec<u8>>,
}

impl Head {
    /// Reads `headers` of a request of this HTTP version; `hop` is the header in which routers write their ids.
    pub fn read<'a>(
        headers: impl Iterator<Item = (&'a [u8], &'a [u8])>,
        version: &str,
        hop: &[u8],
    ) -> Self {
        let mut head = Self::default();
        let mut lengths = length::Lengths::default();
        let (mut hosts, mut codings) = (0, 0);
        for (name, value) in headers {
            match name {
                b"host" if !value.is_empty() => {
                    hosts += 1;
                    if !host::is_well_formed(value) {
                        head.blame("malformed Host header");
                    }
                }
                b"transfer-encoding" => {
                    head.chunked = true;
                    codings += 1;
                    if codings > 1 || !value.trim_ascii().eq_ignore_ascii_case(b"chunked") {
                        head.blame("the Transfer-Encoding is not chunked, once");
                    }
                }
                b"content-length" => lengths.add(value),
                b"expect" => head.waits = true,
                b"content-encoding" if head.coding.is_none() => head.coding = coding(value),
                TRACE_ID if head.trace.is_none() => head.trace = Some(text(value)),
                _ if name == hop => head.hops.push(value.to_vec()),
                _ => head.named.add(name, value),
            }
        }
        if hosts > 1 {
            head.blame("more than one Host header");
        } else if hosts == 0 && !WITHOUT_HOST.contains(&version) {
            head.blame("missing Host header");
        }
        match lengths.length() {
            Ok(length) => head.length = length,
            Err(fault) => head.length_fault = Some(fault),
        }
        head.trace = head.trace.filter(|trace| !trace.is_empty());
        head
    }

    /// Whether it was sent by the router of this hop id, or by more routers than any chain needs.
    pub fn came_by(&self, hop: &[u8]) -> bool {
        self.hops.len() > MAX_HOPS || self.hops.iter().any(|each| each == hop)
    }

    /// Whether its body may have more bytes than that: one in chunks may, and one whose length cannot be read. Of one
    /// that the client waits to be asked for, nothing has come yet: any byte is one too many.
    pub fn has_body_over(&self, size: u64) -> bool {
        let size = if self.waits { 0 } else { size };
        self.chunked || self.length_fault.is_some() || self.length > Some(size)
    }

    /// The first fault counts.
    const fn blame(&mut self, fault: &'static str) {
        if self.fault.is_none() {
            self.fault = Some(fault);
        }
    }
}

fn coding(value: &[u8]) -> Option<Vec<u8>> {
    let codings = value.split(|byte| *byte == b',');
    codings
        .map(|coding| coding.trim_ascii().to_ascii_lowercase())
        .filter(|coding| !coding.is_empty() && coding != b"identity")
        .min()
}

/// A value as text, without the space around it.
fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    type Sent<'a> = [(&'a str, &'a str)];

    fn read(sent: &Sent<'_>, version: &str) -> Head {
        let pairs = sent.iter();
        let pairs = pairs.map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        Head::read(pairs, version, b"x-hop")
    }

    #[test]
    fn heads_that_mean_one_thing() {
        let chunked = ("transfer-encoding", " Chunked ");
        let heads: [(&Sent<'_>, &str); 5] = [
            (&[("host", "a")], "1.1"),
            (&[("x", "y"), ("host", "[::1]:80"), chunked], "1.1"),
            (&[("host", "a"), chunked], "1.1"),
            (&[], "1.0"),
            (&[("host", "")], "1"),
        ];
        for (sent, version) in heads {
            assert_eq!(read(sent, version).fault, None, "{sent:?}");
        }
    }

    #[test]
    fn heads_that_mean_several() {
        let chunked = ("transfer-encoding", "chunked");
        let heads: [(&Sent<'_>, &str); 9] = [
            (&[], "missing Host"),
            (&[("host", "")], "missing Host"),
            (&[("host", "a"), ("host", "a")], "more than one Host"),
            (&[("host", "a/b")], "malformed Host"),
            (&[("host", "a\n")], "malformed Host"),
            (&[("host", "é")], "malformed Host"),
            (
                &[("host", "a"), ("transfer-encoding", "gzip, chunked")],
                "Encoding",
            ),
            (&[("host", "a"), ("transfer-encoding", "")], "Encoding"),
            (&[("host", "a"), chunked, chunked], "Encoding"),
        ];
        for (sent, problem) in heads {
            let fault = read(sent, "1.1").fault;
            assert!(
                fault.is_some_and(|fault| fault.contains(problem)),
                "{sent:?} {fault:?}"
            );
        }
    }

    #[test]
    fn codings_other_than_identity_are_told() {
        let coding = |value| read(&[("content-encoding", value)], "1.0").coding;
        assert_eq!(coding("identity, "), None);
        assert_eq!(coding("identity, ZSTD,gzip"), Some(b"gzip".to_vec()));
    }

    #[test]
    fn the_first_trace_id_counts_if_it_is_not_empty() {
        let trace = |value| read(&[("x_bd_logid", value), ("x_bd_logid", "other")], "1.0").trace;
        assert_eq!(trace(" t "), Some("t".to_owned()));
        assert_eq!(trace(""), None);
        assert_eq!(trace("  "), None);
    }

    #[test]
    fn a_request_that_came_by_is_known() {
        let hops = [("x-hop", "a"); 9];
        assert!(read(&hops[..1], "1.0").came_by(b"a"));
        assert!(!read(&hops[..8], "1.0").came_by(b"b"));
        assert!(read(&hops, "1.0").came_by(b"b"));
    }

    #[test]
    fn what_may_have_a_long_body() {
        let long = |name, value| read(&[(name, value)], "1.0").has_body_over(10);
        assert!(long("transfer-encoding", "chunked"));
        assert!(long("content-length", "11"));
        assert!(long("content-length", "x"));
        assert!(!long("content-length", "10"));
        assert!(!long("x", "y"));
        let waiting = |length| {
            let sent = [("expect", "100-continue"), ("content-length", length)];
            read(&sent, "1.0").has_body_over(10)
        };
        assert!(waiting("1"));
        assert!(!waiting("0"));
    }
}
