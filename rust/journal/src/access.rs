//! The line of one HTTP request, as upstream (the Go router) has it.

use crate::duration::GoDuration;

/// `[METHOD] path?query HTTP/1.1 status duration peer`.
pub fn line(
    method: &str,
    path: &str,
    query: &[u8],
    status: u16,
    seconds: f64,
    peer: &str,
) -> String {
    let target = target(path, query);
    let duration = GoDuration::from_secs(seconds);
    format!("[{method}] {target} HTTP/1.1 {status} {duration} {peer}")
}

/// The path with its query; a space in a decoded path is encoded again, so that the target stays one word.
fn target(path: &str, query: &[u8]) -> String {
    let mut target = path.replace(' ', "%20");
    if !query.is_empty() {
        target.push('?');
        target.extend(query.iter().copied().map(char::from));
    }
    target
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_one_word() {
        assert_eq!(
            line("GET", "/a b", b"q=%20", 404, 0.0005, "::1"),
            "[GET] /a%20b?q=%20 HTTP/1.1 404 500µs ::1"
        );
        assert_eq!(
            line("POST", "/v1", b"", 200, 1.0, "a"),
            "[POST] /v1 HTTP/1.1 200 1s a"
        );
    }
}
