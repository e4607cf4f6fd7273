//! TLS for https workers. The roots are read when the first of them is met: plain http costs nothing at start.

use std::sync::{Arc, OnceLock};

use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;

use crate::error::{Failure, Kind};

/// The connector, made once. Several tasks may make it at the same time; one result is kept.
#[derive(Default)]
pub(crate) struct Tls(OnceLock<TlsConnector>);

impl Tls {
    pub(crate) async fn connector(&self) -> Result<TlsConnector, Failure> {
        if let Some(connector) = self.0.get() {
            return Ok(connector.clone());
        }
        // Reading and parsing the system's roots takes tens of milliseconds.
        let config = tokio::task::spawn_blocking(load)
            .await
            .map_err(|error| Failure::new(Kind::Tls, error.to_string()))??;
        Ok(self
            .0
            .get_or_init(|| TlsConnector::from(Arc::new(config)))
            .clone())
    }
}

/// Roots of the system, or of `SSL_CERT_FILE` and `SSL_CERT_DIR` where set.
fn load() -> Result<ClientConfig, Failure> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        let reason = found
            .errors
            .first()
            .map_or_else(|| "none found".to_owned(), ToString::to_string);
        return Err(Failure::new(
            Kind::Tls,
            format!("no root certificates (SSL_CERT_FILE names a file): {reason}"),
        ));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Failure::new(Kind::Tls, error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}
