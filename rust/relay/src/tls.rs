//! TLS for https workers. The roots are read when the first of them is met: plain http costs nothing at start.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;

use crate::error::{Failure, Kind};

/// The connector, made when it is first asked for.
pub(crate) struct Tls {
    ca_file: Option<PathBuf>,
    connector: Mutex<Option<TlsConnector>>,
}

impl Tls {
    pub(crate) fn new(ca_file: Option<PathBuf>) -> Self {
        Self {
            ca_file,
            connector: Mutex::default(),
        }
    }

    /// Several tasks may make it at the same time; one result is kept.
    pub(crate) async fn connector(&self) -> Result<TlsConnector, Failure> {
        let known = self.connector.lock().clone();
        if let Some(connector) = known {
            return Ok(connector);
        }
        // Reading and parsing the system's roots takes tens of milliseconds.
        let ca_file = self.ca_file.clone();
        let config = tokio::task::spawn_blocking(move || load(ca_file.as_deref()))
            .await
            .map_err(|error| Failure::new(Kind::Tls, error.to_string()))??;
        let made = TlsConnector::from(Arc::new(config));
        Ok(self.connector.lock().get_or_insert(made).clone())
    }

    /// Connections from now on are verified by what the files say then.
    pub(crate) fn forget(&self) {
        *self.connector.lock() = None;
    }
}

fn load(ca_file: Option<&Path>) -> Result<ClientConfig, Failure> {
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(root_certificates(ca_file)?);
    if added == 0 {
        return Err(Failure::new(
            Kind::Tls,
            "no usable root certificate".to_owned(),
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

/// The certificates that engines are verified with: those of a PEM file; else of `SSL_CERT_FILE` and `SSL_CERT_DIR` where
/// set; else of the system. At least one, or a failure that says where they were looked for.
pub fn root_certificates(ca_file: Option<&Path>) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let (found, missing) = match ca_file {
        Some(path) => (of_file(path)?, path.display().to_string()),
        None => of_system(),
    };
    if found.is_empty() {
        return Err(Failure::new(
            Kind::Tls,
            format!("no root certificates: {missing}"),
        ));
    }
    Ok(found)
}

fn of_file(path: &Path) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let failure = |error: rustls::pki_types::pem::Error| {
        let reason = match error {
            rustls::pki_types::pem::Error::Io(error) => error.to_string(),
            other => other.to_string(),
        };
        Failure::new(
            Kind::Tls,
            format!("root certificates of {}: {reason}", path.display()),
        )
    };
    CertificateDer::pem_file_iter(path)
        .map_err(failure)?
        .collect::<Result<_, _>>()
        .map_err(failure)
}

fn of_system() -> (Vec<CertificateDer<'static>>, String) {
    let found = rustls_native_certs::load_native_certs();
    let reason = found
        .errors
        .first()
        .map_or_else(|| "none found".to_owned(), ToString::to_string);
    (
        found.certs,
        format!("upstream.ca-file or SSL_CERT_FILE names a file: {reason}"),
    )
}
