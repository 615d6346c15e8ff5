//! TLS as etcd wants it: the servers' authority, our certificate, HTTP/2. The one provider of cryptography is ring.

use std::sync::Arc;

use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::options::{Options, Pem};
use crate::{Error, Result};

/// Where systems keep the authorities that they trust, all in one file.
const BUNDLES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// What is needed to speak TLS with the servers.
///
/// # Errors
/// [`Error::Unavailable`] if a file can't be read or isn't what it should be.
pub fn connector(options: &Options) -> Result<TlsConnector> {
    let mut roots = RootCertStore::empty();
    for certificate in authorities(options)? {
        // One of the system's that can't be read is none of ours; ours are counted below.
        drop(roots.add(certificate));
    }
    if roots.is_empty() {
        let attempt = "read the authority that signed etcd's certificates";
        return Err(Error::unavailable(attempt, "found no certificate; ETCD_CA_CERT_FILE names the file"));
    }
    let provider = Arc::new(ring::default_provider());
    let refused = |error: tokio_rustls::rustls::Error| Error::unavailable("prepare TLS for etcd", error);
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(refused)?
        .with_root_certificates(roots);
    let mut config = match &options.certificate {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let (chain, key) = (certificates(certificate)?, private_key(key)?);
            builder.with_client_auth_cert(chain, key).map_err(refused)?
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

fn authorities(options: &Options) -> Result<Vec<CertificateDer<'static>>> {
    if let Some(pem) = &options.authority {
        return certificates(pem);
    }
    let bundle = BUNDLES.iter().find(|path| std::path::Path::new(path).exists());
    bundle.map_or(Ok(Vec::new()), |path| certificates(&Pem::File(path.into())))
}

fn certificates(pem: &Pem) -> Result<Vec<CertificateDer<'static>>> {
    let text = text(pem)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let unreadable = |cause: String| Error::unavailable(format!("read {}", name(pem, "certificate")), cause);
    match found {
        Ok(found) if found.is_empty() => Err(unreadable("there is no certificate in it".to_owned())),
        Ok(found) => Ok(found),
        Err(error) => Err(unreadable(error.to_string())),
    }
}

fn private_key(pem: &Pem) -> Result<PrivateKeyDer<'static>> {
    PrivateKeyDer::from_pem_slice(&text(pem)?)
        .map_err(|error| Error::unavailable(format!("read {}", name(pem, "key")), error))
}

fn text(pem: &Pem) -> Result<Vec<u8>> {
    match pem {
        Pem::Text(text) => Ok(text.clone().into_bytes()),
        Pem::File(path) => {
            std::fs::read(path).map_err(|error| Error::unavailable(format!("read {}", path.display()), error))
        }
    }
}

fn name(pem: &Pem, what: &str) -> String {
    match pem {
        Pem::File(path) => path.display().to_string(),
        Pem::Text(_) => format!("the {what} for etcd in the settings"),
    }
}
